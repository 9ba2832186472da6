"""A weight matrix made ready for multiplication: float values, or integer codes with a scale per group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from edgeq.errors import UsageError
from edgeq.ir.ops.fake_quant import largest_code
from edgeq.ir.ops.grid import grid
from edgeq.ir.ops.signs import sign_tokens

if TYPE_CHECKING:
    from edgeq.quant.format import WeightFormat

EXACT_FLOAT32 = 2**24  # float32 holds every integer below
ACTS = ("a8", "a8s", "a4", "a1", "a16")
ACT_BITS = {"a8": 8, "a8s": 8, "a4": 4, "a1": 1}
SIGNS = "w1"  # the format that signs (a1) are multiplied with: signs and one scale a row
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
class Stored:
    """A weight on its grid: codes u8 `[N, K]`, scale f16 `[N, KG * numbers]`, zero points or offsets or None."""

    codes: Tensor
    scale: Tensor
    zero: Tensor | None = None


@dataclass(frozen=True)
class IntegerMatrix:
    """Whole numbers and a scale a group, for activations in whole numbers.

    Attributes:
        codes: less their zero points, int8 or int16 `[KG, group, N]`, the last group filled up with zeros.
        scale: f32 `[KG, N]`.
        columns: K.
        exact: float type that holds a group's sum without rounding.
        act_bits: of an activation.
    """

    codes: Tensor
    scale: Tensor
    columns: int
    exact: torch.dtype
    act_bits: int = 8

    def apply(self, x: Tensor, x_scale: Tensor | None = None) -> Tensor:
        """x f32 `[M, K]` -> f32 `[M, N]`: exact integer sums, then f32 over groups in order.

        x is quantized per token, or all with one scale f32 `[1]`.
        """
        codes, token_scale = quantize_tokens(x, self.act_bits) if x_scale is None else quantize_tensor(x, x_scale)
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


@dataclass(frozen=True)
class SimulatedMatrix:
    """values: f32 `[N, K]`, on the grid of the weight's format; activations are rounded, and multiplied in float."""

    values: Tensor
    act_bits: int = 8

    def apply(self, x: Tensor, x_scale: Tensor | None = None) -> Tensor:
        """x f32 `[M, K]`, quantized per token or with the scale given -> f32 `[M, N]`."""
        codes, scale = quantize_tokens(x, self.act_bits) if x_scale is None else quantize_tensor(x, x_scale)
        return (codes @ self.values.T) * scale[:, None]

    def rows(self, ids: Tensor) -> Tensor:
        """Rows `ids` `[...]` -> f32 `[..., K]`."""
        return self.values[ids]


def quantize_tokens(x: Tensor, bits: int = 8) -> tuple[Tensor, Tensor]:
    """Dynamic whole numbers per token. x f32 `[M, K]` -> codes (in f32) `[M, K]`, scale f32 `[M]` = absmax / 127.

    At 4 bits codes reach from -7 to 7 and the scale is absmax / 7; at 1 bit they are signs, the scale mean |x|.
    """
    if bits == 1:
        return sign_tokens(x)
    top = largest_code(bits)
    absmax = x.float().abs().amax(-1).clamp(min=ABSMAX_FLOOR)
    return torch.round(x.float() * (top / absmax)[:, None]), absmax / top


def quantize_tensor(x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """int8 with one scale, f32 `[1]`. x f32 `[M, K]` -> codes (whole numbers in f32) `[M, K]`, scale f32 `[M]`."""
    return torch.round((x.float() * (1.0 / scale.float())).clamp(-127, 127)), scale.float().expand(len(x))


def product(matrix: Matrix, x: Tensor, x_scale: Tensor | None = None) -> Tensor:
    """x f32 `[M, K]` times the matrix -> f32 `[M, N]`; UsageError: a scale for activations that stay in float."""
    if x_scale is None:
        return matrix.apply(x)
    if isinstance(matrix, FloatMatrix):
        raise UsageError("x_scale is for int8 activations (a8s); this linear takes them in float")
    return matrix.apply(x, x_scale)


Matrix = FloatMatrix | IntegerMatrix | SimulatedMatrix


def prepare(w: Tensor, weight: str, act: str) -> Matrix:
    """Quantize w `[N, K]` as format `weight`, ready for activations kept as `act` (one of `ACTS`).

    Raises:
        UsageError: an unknown format, or integer activations on weights that take floats.
    """
    from edgeq.quant.format import WeightFormat
    from edgeq.quant.quantizer import quantize

    fmt = WeightFormat.parse(weight)
    _check(fmt, act)
    codes, scale, zero = quantize(w, fmt)
    if scale is None:
        return FloatMatrix(torch.from_numpy(codes).float())
    tables = (torch.from_numpy(codes), torch.from_numpy(scale), None if zero is None else torch.from_numpy(zero))
    return prepare_stored(Stored(*tables), weight, act)


def prepare_stored(stored: Stored, weight: str, act: str) -> Matrix:
    """A weight that lies on the grid of format `weight` already, ready for activations kept as `act`.

    Formats with an offset or several numbers a group are multiplied in float, all others in exact integers.
    """
    from edgeq.quant.format import WeightFormat
    from edgeq.quant.values import level_values

    fmt = WeightFormat.parse(weight)
    _check(fmt, act)
    if act == "a16":
        return FloatMatrix(grid(stored.codes, stored.scale, stored.zero, weight=weight))
    if fmt.kind == "min" or fmt.meaning.numbers > 1:
        return SimulatedMatrix(grid(stored.codes, stored.scale, stored.zero, weight=weight), ACT_BITS[act])
    size = fmt.group_size or stored.codes.shape[1]
    return _integer(level_values(stored.codes, stored.zero, fmt), stored.scale.float(), size, ACT_BITS[act])


def _check(fmt: WeightFormat, act: str) -> None:
    if act not in ACTS:
        raise UsageError(f"activations can be {', '.join(ACTS)}, not {act!r}")
    if fmt.float_only and act != "a16":
        raise UsageError(f"weights kept as {fmt} take activations a16, not {act}")
    if act == "a1" and str(fmt) != SIGNS:
        raise UsageError(f"activations a1 take weights {SIGNS} (signs and a scale a row), not {fmt}")


def _integer(levels: Tensor, scale: Tensor, size: int, act_bits: int) -> IntegerMatrix:
    """levels i16 `[N, K]`, scale f32 `[N, KG]`."""
    outputs, columns = levels.shape
    groups = scale.shape[1]
    signed = pad(levels, (0, groups * size - columns))
    low, high = int(signed.min()), int(signed.max())
    largest = max(-low, high)
    kept = signed.to(torch.int8) if low >= -128 and high <= 127 else signed
    top = 1 if act_bits == 1 else largest_code(act_bits)
    exact = torch.float32 if top * largest * size < EXACT_FLOAT32 else torch.float64
    grouped = kept.T.reshape(groups, size, outputs).contiguous()
    return IntegerMatrix(grouped, scale.T.contiguous(), columns, exact, act_bits)
