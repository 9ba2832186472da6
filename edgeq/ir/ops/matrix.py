"""A weight matrix made ready for multiplication: float values, or integer codes with a scale per group."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeq.errors import UsageError

FLOAT_FORMATS = {"f32": torch.float32, "f16": torch.float16}
EXACT_FLOAT32 = 2**24  # float32 holds every integer below
ABSMAX_FLOOR = 1e-20  # a row of zeros has codes 0 instead of 0/0


@dataclass(frozen=True)
class FloatMatrix:
    """values: f32 `[N, K]`."""

    values: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """x f32 `[M, K]` -> f32 `[M, N]`."""
        return x.float() @ self.values.T


@dataclass(frozen=True)
class IntegerMatrix:
    """Whole numbers and a scale a group.

    codes: less their zero point, `[KG, group, N]`, in a float type that holds group sums; scale: f32 `[KG, 1, N]`.
    """

    codes: Tensor
    scale: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """x f32 `[M, K]`, quantized per token -> f32 `[M, N]`: exact integer sums, then f32 over groups in order."""
        codes, token_scale = quantize_tokens(x)
        groups, size, outputs = self.codes.shape
        codes = torch.nn.functional.pad(codes, (0, groups * size - codes.shape[1])).to(self.codes.dtype)
        total = torch.zeros(len(codes), outputs)
        for group in range(groups):
            exact = codes[:, group * size : (group + 1) * size] @ self.codes[group]
            total += exact.float() * self.scale[group]
        return total * token_scale[:, None]


def quantize_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """Dynamic int8 per token. x f32 `[M, K]` -> codes (whole numbers in f32) `[M, K]`, scale f32 `[M]` = absmax/127."""
    absmax = x.float().abs().amax(-1).clamp(min=ABSMAX_FLOOR)
    return torch.round(x.float() * (127.0 / absmax)[:, None]), absmax / 127.0


def prepare(w: Tensor, weight: str, act: str) -> FloatMatrix | IntegerMatrix:
    """Quantize w `[N, K]` as format `weight`, ready for activations kept as `act` (`a8` or `a16`).

    Raises:
        UsageError: an unknown format, or int8 activations on float weights.
    """
    if act not in ("a8", "a16"):
        raise UsageError(f"activations can be a8 or a16, not {act!r}")
    if weight in FLOAT_FORMATS:
        if act != "a16":
            raise UsageError(f"weights kept as {weight} take activations a16, not {act}")
        return FloatMatrix(w.to(FLOAT_FORMATS[weight]).float())
    codes, scale, size = _codes(w.float(), weight)
    if act == "a16":
        groups = torch.arange(w.shape[1]) // size
        return FloatMatrix(codes * scale[:, groups])
    return _integer(codes, scale, size)


def _codes(w: Tensor, weight: str) -> tuple[Tensor, Tensor, int]:
    """(codes less zero point as whole f32 numbers `[N, K]`, scale f32 `[N, KG]`, group size)."""
    from edgeq.quant.format import WeightFormat
    from edgeq.quant.quantizer import quantize

    fmt = WeightFormat.parse(weight)
    columns = w.shape[1]
    codes, scale, zero = (None if t is None else torch.as_tensor(t).float() for t in quantize(w.numpy(), fmt))
    size = fmt.group_size or columns
    if zero is None:
        return codes - fmt.zero_point, scale, size
    return codes - zero[:, torch.arange(columns) // size], scale, size


def _integer(codes: Tensor, scale: Tensor, size: int) -> IntegerMatrix:
    groups = scale.shape[1]
    padded = torch.nn.functional.pad(codes, (0, groups * size - codes.shape[1]))
    largest = 127 * int(codes.abs().max()) * size
    dtype = torch.float32 if largest < EXACT_FLOAT32 else torch.float64
    grouped = padded.T.reshape(groups, size, len(codes)).to(dtype).contiguous()
    return IntegerMatrix(grouped, scale.T[:, None].contiguous())
