"""Quantized linear and embedding: the integer arithmetic that the kernels must reproduce."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.ir.ops.library import opaque
from edgeq.ir.ops.matrix import prepare, product
from edgeq.ir.ops.simulated import simulation


def _linear_shape(
    x: Tensor, w: Tensor, bias: Tensor | None = None, x_scale: Tensor | None = None, *, weight: str, act: str
) -> Tensor:
    return x.new_empty(*x.shape[:-1], w.shape[0])


@opaque(
    "qlinear(Tensor x, Tensor w, Tensor? bias=None, Tensor? x_scale=None, *, str weight, str act) -> Tensor",
    _linear_shape,
)
def qlinear(
    x: Tensor, w: Tensor, bias: Tensor | None = None, x_scale: Tensor | None = None, *, weight: str, act: str
) -> Tensor:
    """x `[..., K]`, w `[N, K]` in float, quantized here as `weight`.

    act is `a8` (int8, a scale a token from its values), `a8s` (int8, one scale that is known: `x_scale` f32 `[1]`) or
    `a16` (float).
    """
    y = product(simulation(w, weight, act) or prepare(w, weight, act), x.reshape(-1, x.shape[-1]), x_scale)
    y = y if bias is None else y + bias.float()
    return y.reshape(*x.shape[:-1], w.shape[0]).to(x.dtype)


def _embedding_shape(ids: Tensor, w: Tensor, *, weight: str) -> Tensor:
    return w.new_empty(*ids.shape, w.shape[1])


@opaque("qembedding(Tensor ids, Tensor w, *, str weight) -> Tensor", _embedding_shape)
def qembedding(ids: Tensor, w: Tensor, *, weight: str) -> Tensor:
    """Rows `ids` of w `[N, K]` quantized as format `weight`, dequantized: `[..., K]`."""
    rows = prepare(w[ids.reshape(-1)], weight, "a16").rows(torch.arange(ids.numel()))
    return rows.reshape(*ids.shape, w.shape[1]).to(w.dtype)
