"""What stored numbers stand for: codes, scales and zero points -> values."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.errors import UsageError
from edgeq.quant.format import WeightFormat

_FLOATS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}


def level_values(codes: Tensor, zero: Tensor | None, fmt: WeightFormat) -> Tensor:
    """Whole numbers that scales multiply: i16 `[N, K]`.

    Args:
        codes: u8 `[N, K]`. zero: u8 `[N, KG]` of an asymmetric format; unused of kind `min`, whose codes are levels.

    Raises UsageError for formats whose values are no multiple of one scale (`p2`, `c4`, `fp8`).
    """
    if fmt.levels is not None:
        return torch.tensor(fmt.levels, dtype=torch.int16)[codes.long()]
    if fmt.kind not in ("int", "min") and not fmt.meaning.sparse:
        raise UsageError(f"{fmt}: values are no whole multiples of a scale")
    if fmt.kind == "min":
        return codes.to(torch.int16)
    point = fmt.zero_point if zero is None else spread(zero.to(torch.int16), codes.shape[1], fmt)
    return codes.to(torch.int16) - point


def dequantized(codes: Tensor, scale: Tensor, zero: Tensor | None, fmt: WeightFormat) -> Tensor:
    """f32 `[N, K]`, exactly what the numbers stand for once they are packed.

    Args:
        codes: u8 `[N, K]`. scale: f16 `[N, KG * numbers]`.
        zero: u8 `[N, KG]` zero points, f16 `[N, KG]` offsets, else None.
    """
    K = int(codes.shape[1])
    if fmt.is_float:
        raise UsageError(f"weights kept as {fmt} have no codes: nothing to put on a grid")
    if fmt.kind in _FLOATS:
        return codes.view(_FLOATS[fmt.kind]).float() * spread(scale.float(), K, fmt)
    if fmt.meaning.numbers > 1:
        return _from_tables(codes, scale.float(), fmt)
    values = level_values(codes, zero, fmt).float() * spread(scale.float(), K, fmt)
    return values - spread(zero.float(), K, fmt) if fmt.has_offsets and zero is not None else values


def spread(groups: Tensor, columns: int, fmt: WeightFormat) -> Tensor:
    """A number a group `[N, KG]` -> one a weight, `[N, columns]`; the last group may be shorter."""
    size = fmt.group_size or columns
    return groups.unsqueeze(-1).expand(-1, -1, size).reshape(len(groups), -1)[:, :columns]


def _from_tables(codes: Tensor, numbers: Tensor, fmt: WeightFormat) -> Tensor:
    """Several numbers a group: two that 0/1 planes multiply, or a table of four."""
    K = int(codes.shape[1])
    parts = numbers.reshape(len(codes), -1, fmt.meaning.numbers).unbind(-1)
    wide = [spread(part, K, fmt) for part in parts]
    if fmt.kind == "planes":
        return wide[0] * (codes & 1) + wide[1] * (codes >> 1)
    return torch.stack(wide, -1).gather(-1, codes.long().unsqueeze(-1)).squeeze(-1)
