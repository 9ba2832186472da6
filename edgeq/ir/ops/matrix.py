"""A weight matrix made ready for multiplication: float values, or integer codes with a scale per group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from edgeq.errors import UsageError

if TYPE_CHECKING:
    from edgeq.ir.ops.simulated import SimulatedMatrix

EXACT_FLOAT32 = 2**24  # float32 holds every integer below
ACTS = ("a8", "a8s", "a16")
ABSMAX_FLOOR = 1e-20  # a row of zeros has codes 0 instead of 0/0


@dataclass(frozen=True)
class FloatMatrix:
    """values: f32 `[N, K]`."""

    values: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """x f32 `[M, K]` -> f32 `[M, N]`."""
        return x.float() @ self.values.T

    def rows(self, ids: Tensor) -> Tensor:
        """Rows `ids` `[...]` -> f32 `[..., K]`."""
        return self.values[ids]


@dataclass(frozen=True)
class IntegerMatrix:
    """Whole numbers and a scale a group, for int8 activations.

    Attributes:
        codes: less their zero points, int8 or int16 `[KG, group, N]`, the last group filled up with zeros.
        scale: f32 `[KG, N]`.
        columns: K.
        exact: float type that holds a group's sum without rounding.
    """

    codes: Tensor
    scale: Tensor
    columns: int
    exact: torch.dtype

    def apply(self, x: Tensor, x_scale: Tensor | None = None) -> Tensor:
        """x f32 `[M, K]` -> f32 `[M, N]`: exact integer sums, then f32 over groups in order.

        x is quantized per token, or all with one scale f32 `[1]`.
        """
        codes, token_scale = quantize_tokens(x) if x_scale is None else quantize_tensor(x, x_scale)
        groups, size, outputs = self.codes.shape
        codes = pad(codes, (0, groups * size - self.columns)).to(self.exact)
        total = torch.zeros(len(codes), outputs)
        for group in range(groups):
            sums = codes[:, group * size : (group + 1) * size] @ self.codes[group].to(self.exact)
            total.addcmul_(sums.float(), self.scale[group])
        return total * token_scale[:, None]

    def rows(self, ids: Tensor) -> Tensor:
        """Rows `ids` `[...]`, dequantized -> f32 `[..., K]`."""
        flat = ids.reshape(-1)
        values = self.codes[:, :, flat].float() * self.scale[:, None, flat]
        return values.flatten(0, 1).T[:, : self.columns].reshape(*ids.shape, self.columns)


def quantize_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """Dynamic int8 per token. x f32 `[M, K]` -> codes (whole numbers in f32) `[M, K]`, scale f32 `[M]` = absmax/127."""
    absmax = x.float().abs().amax(-1).clamp(min=ABSMAX_FLOOR)
    return torch.round(x.float() * (127.0 / absmax)[:, None]), absmax / 127.0


def quantize_tensor(x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """int8 with one scale, f32 `[1]`. x f32 `[M, K]` -> codes (whole numbers in f32) `[M, K]`, scale f32 `[M]`."""
    return torch.round((x.float() * (1.0 / scale.float())).clamp(-127, 127)), scale.float().expand(len(x))


def product(matrix: FloatMatrix | IntegerMatrix | SimulatedMatrix, x: Tensor, x_scale: Tensor | None = None) -> Tensor:
    """x f32 `[M, K]` times the matrix -> f32 `[M, N]`; UsageError: a scale for activations that stay in float."""
    if x_scale is None:
        return matrix.apply(x)
    if isinstance(matrix, FloatMatrix):
        raise UsageError("x_scale is for int8 activations (a8s); this linear takes them in float")
    return matrix.apply(x, x_scale)


def prepare(w: Tensor, weight: str, act: str) -> FloatMatrix | IntegerMatrix:
    """Quantize w `[N, K]` as format `weight`, ready for activations kept as `act` (`a8`, `a8s` or `a16`).

    Raises:
        UsageError: an unknown format, or int8 activations on float weights.
    """
    from edgeq.quant.format import WeightFormat
    from edgeq.quant.quantizer import dequantize, quantize

    fmt = WeightFormat.parse(weight)
    if act not in ACTS:
        raise UsageError(f"activations can be {', '.join(ACTS)}, not {act!r}")
    if fmt.is_float and act != "a16":
        raise UsageError(f"weights kept as {weight} take activations a16, not {act}")
    stored = quantize(w, fmt)
    if act == "a16":
        return FloatMatrix(torch.from_numpy(dequantize(*stored, fmt)))
    codes, scale = torch.from_numpy(stored[0]), torch.from_numpy(stored[1])
    zero = torch.tensor(fmt.zero_point) if stored[2] is None else torch.from_numpy(stored[2])
    return _integer(codes, scale.float(), zero, fmt.group_size or w.shape[1])


def _integer(codes: Tensor, scale: Tensor, zero: Tensor, size: int) -> IntegerMatrix:
    """codes u8 `[N, K]`, scale f32 `[N, KG]`, zero u8 `[N, KG]` or one number for all."""
    outputs, columns = codes.shape
    groups = scale.shape[1]
    points = zero.to(torch.int16)
    if zero.dim():
        points = points.repeat_interleave(size, 1)[:, :columns]
    signed = pad(codes.to(torch.int16) - points, (0, groups * size - columns))
    low, high = int(signed.min()), int(signed.max())
    largest = max(-low, high)
    kept = signed.to(torch.int8) if low >= -128 and high <= 127 else signed
    exact = torch.float32 if 127 * largest * size < EXACT_FLOAT32 else torch.float64
    grouped = kept.T.reshape(groups, size, outputs).contiguous()
    return IntegerMatrix(grouped, scale.T.contiguous(), columns, exact)
