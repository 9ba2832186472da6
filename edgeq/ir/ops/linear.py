"""Quantized linear and embedding: the integer arithmetic that the kernels must reproduce."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.ir.ops.grid import grid
from edgeq.ir.ops.library import opaque
from edgeq.ir.ops.matrix import FloatMatrix, Matrix, Stored, prepare, prepare_stored, product
from edgeq.ir.ops.simulated import simulation


def _linear_shape(
    x: Tensor, w: Tensor, bias: Tensor | None = None, x_scale: Tensor | None = None, w_scale: Tensor | None = None,
    w_zero: Tensor | None = None, *, weight: str, act: str,
) -> Tensor:  # fmt: skip
    return x.new_empty(*x.shape[:-1], w.shape[0])


@opaque(
    "qlinear(Tensor x, Tensor w, Tensor? bias=None, Tensor? x_scale=None, Tensor? w_scale=None, Tensor? w_zero=None, "
    "*, str weight, str act) -> Tensor",
    _linear_shape,
)
def qlinear(
    x: Tensor, w: Tensor, bias: Tensor | None = None, x_scale: Tensor | None = None, w_scale: Tensor | None = None,
    w_zero: Tensor | None = None, *, weight: str, act: str,
) -> Tensor:  # fmt: skip
    """x `[..., K]` times w `[N, K]`, stored as `weight`.

    w is in float and quantized here; or, with `w_scale` f16 `[N, KG]` (and `w_zero` u8 `[N, KG]` where the format is
    asymmetric), w holds its codes, u8, and nothing is searched.

    act is `a8` (int8, a scale a token from its values), `a8s` (int8, one scale that is known: `x_scale` f32 `[1]`),
    `a4` (int4, a scale a token; no kernel yet), `a1` (signs and mean |x| a token; weight `w1` alone) or `a16` (float).
    """
    stored = None if w_scale is None else Stored(w, w_scale, w_zero)
    y = product(_matrix(w, stored, weight, act), x.reshape(-1, x.shape[-1]), x_scale)
    y = y if bias is None else y + bias.float()
    return y.reshape(*x.shape[:-1], w.shape[0]).to(x.dtype)


def _matrix(w: Tensor, stored: Stored | None, weight: str, act: str) -> Matrix:
    found = simulation(w, weight, act, stored)
    if found is not None:
        return found
    return prepare(w, weight, act) if stored is None else prepare_stored(stored, weight, act)


def _embedding_shape(
    ids: Tensor, w: Tensor, w_scale: Tensor | None = None, w_zero: Tensor | None = None, *, weight: str
) -> Tensor:
    return w.new_empty(*ids.shape, w.shape[1], dtype=w.dtype if w_scale is None else torch.float32)


@opaque(
    "qembedding(Tensor ids, Tensor w, Tensor? w_scale=None, Tensor? w_zero=None, *, str weight) -> Tensor",
    _embedding_shape,
)
def qembedding(
    ids: Tensor, w: Tensor, w_scale: Tensor | None = None, w_zero: Tensor | None = None, *, weight: str
) -> Tensor:
    """Rows `ids` of w `[N, K]` quantized as format `weight`, dequantized: `[..., K]`.

    With `w_scale` (and `w_zero` where the format has one) w holds its codes, u8, as of `qlinear`.
    """
    flat = ids.reshape(-1)
    if w_scale is not None:
        rows = grid(w[flat], w_scale[flat], None if w_zero is None else w_zero[flat], weight=weight)
        return rows.reshape(*ids.shape, w.shape[1])
    matrix = prepare(w[flat], weight, "a16")
    assert isinstance(matrix, FloatMatrix)
    return matrix.values.reshape(*ids.shape, w.shape[1]).to(w.dtype)
