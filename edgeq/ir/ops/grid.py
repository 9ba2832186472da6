"""A weight that lies on its stored grid already: whole numbers, scales and zero points, chosen by a pass."""

from __future__ import annotations

from torch import Tensor

from edgeq.ir.ops.library import composite

SOURCES = "sources"  # in the meta of a table of a grid: the checkpoint's tensors that it was made of, name -> rank


@composite("grid(Tensor codes, Tensor scale, Tensor? zero=None, *, str weight) -> Tensor")
def grid(codes: Tensor, scale: Tensor, zero: Tensor | None = None, *, weight: str) -> Tensor:
    """`(code - zero) * scale`, f32 `[N, K]`: exactly what the numbers stand for once they are packed.

    Args:
        codes: u8 `[N, K]`. scale: f16 `[N, KG]`. zero: u8 `[N, KG]`, None where the format is symmetric.
        weight: the format, `"w4g128a"`. UsageError of a float format, which has no codes.
    """
    size, point = _group(codes, weight)
    signed = codes.float() - (point if zero is None else _spread(zero, size, codes.shape[1]))
    return signed * _spread(scale, size, codes.shape[1])


def _group(codes: Tensor, weight: str) -> tuple[int, int]:
    """(weights of a group, zero point of a symmetric format)."""
    from edgeq.errors import UsageError
    from edgeq.quant.format import WeightFormat

    fmt = WeightFormat.parse(weight)
    if fmt.is_float:
        raise UsageError(f"weights kept as {weight} have no codes: nothing to put on a grid")
    return fmt.group_size or int(codes.shape[1]), fmt.zero_point or 0


def _spread(groups: Tensor, size: int, columns: int) -> Tensor:
    """A number a group `[N, KG]` -> one a weight, f32 `[N, K]`; the last group may be shorter."""
    wide = groups.float().unsqueeze(-1).expand(-1, -1, size).reshape(groups.shape[0], -1)
    return wide[:, :columns]
