"""One imported weight as its checkpoint means it: codes, and numbers a group in full precision."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from edgeq.errors import ModelError, UsageError
from edgeq.quant.format import STORED_GROUPS, WeightFormat
from edgeq.quant.values import dequantized

SMALL = 1e-3  # of a weight's largest scale


@dataclass(frozen=True)
class Held:
    """A weight `[N, K]` in one of our formats, its scales not yet rounded to fp16.

    Attributes:
        codes: u8 `[N, K]`. scale: f32 `[N, KG * numbers]`.
        zero: u8 `[N, KG]` zero points, f32 `[N, KG]` offsets of kind `min`, else None.
        order: i64 `[K]`: column j of the codes is column `order[j]` of the weight; None: as they are.
        bias: f32 `[N]` that the rounding itself adds to what the linear computes (Tequila), or None.
    """

    codes: Tensor
    scale: Tensor
    zero: Tensor | None
    fmt: WeightFormat
    order: Tensor | None = None
    bias: Tensor | None = None

    def values(self) -> Tensor:
        """f32 `[N, K]` that the checkpoint stands for, columns in the weight's own order."""
        found = dequantized(self.codes, self.scale, self.zero, self.fmt)
        if self.order is None:
            return found
        return torch.empty_like(found).index_copy_(1, self.order, found)

    def stored(self, name: str) -> Held:
        """The same with scales and offsets in fp16.

        Raises ModelError: one is not finite. UsageError: one is too large for fp16.
        """
        zero = self.zero
        if zero is not None and zero.is_floating_point():
            zero = _half(zero, name)
        return replace(self, scale=_half(self.scale, name), zero=zero)

    def typed(self) -> Held:
        """The same without values, in the types in which it is stored; the order, which is small, stays."""
        zero = self.zero
        offsets = zero is not None and zero.is_floating_point()
        kept = None if zero is None else zero.to("meta", torch.float16 if offsets else zero.dtype)
        bias = None if self.bias is None else self.bias.to("meta")
        codes, scale = self.codes.to("meta"), self.scale.to("meta", torch.float16)
        return replace(self, codes=codes, scale=scale, zero=kept, bias=bias)

    def rounding(self, name: str) -> float:
        """The largest relative change that fp16 makes to a scale or an offset; 0: every value is kept exactly.

        Numbers below a thousandth of the weight's largest count as that: they hardly show in any output.
        """
        kept = self.stored(name)
        pairs = [(self.scale, kept.scale)]
        if self.zero is not None and kept.zero is not None and self.zero.is_floating_point():
            pairs.append((self.zero, kept.zero))
        return max(_change(before, after) for before, after in pairs)


def _half(x: Tensor, name: str) -> Tensor:
    found = x.half()
    if not torch.isfinite(x).all():
        raise ModelError(f"{name}: scales that are not finite; the checkpoint is damaged")
    if not torch.isfinite(found).all():
        raise UsageError(f"a scale of {float(x.abs().max()):.3g} is too large for fp16")
    return found


def _change(before: Tensor, after: Tensor) -> float:
    """|after - before| / |before|, the largest."""
    apart, size = (after.float() - before).abs(), before.abs()
    return float((apart / size.clamp(min=max(float(size.max()) * SMALL, 1e-30))).max())


def group_size(size: int, columns: int) -> int:
    """Our group size that cuts groups of `size` evenly: 0 of a whole row (0), else the largest that divides it.

    Raises UsageError where none does.
    """
    if not size or (size >= columns and size not in STORED_GROUPS):
        return 0
    fitting = [known for known in STORED_GROUPS if size % known == 0]
    if not fitting:
        raise UsageError(f"groups of {size} weights; ours have {', '.join(map(str, STORED_GROUPS))}")
    return fitting[-1]


def regrouped(numbers: Tensor, size: int, columns: int) -> Tensor:
    """Numbers of groups of `size`, `[N, KG]`, repeated for the smaller groups of `group_size(size, columns)`."""
    ours = group_size(size, columns)
    if not ours or ours == size:
        return numbers
    return numbers.repeat_interleave(size // ours, 1)[:, : -(-columns // ours)]


class NotHeldError(UsageError):
    """No format of ours holds a weight; `values` f32 `[N, K]` are what it stands for."""

    def __init__(self, why: str, values: Tensor) -> None:
        super().__init__(why)
        self.values = values


def uniform(
    codes: Tensor, scale: Tensor, zero: Tensor, bits: int, size: int, order: Tensor | None = None
) -> Held:
    """Whole-number codes in their simplest format: symmetric where every zero point is the middle one.

    Args:
        codes: u8 `[N, K]`. scale: float `[N, KG]`. zero: whole numbers `[N, KG]`.
        size: weights of a group, 0: of a row.

    Raises:
        NotHeldError: group sizes that no format of ours has, zero points that are no byte.
    """
    columns = codes.shape[1]
    try:
        ours = group_size(size, columns)
        if int(zero.min()) < 0 or int(zero.max()) > 255:
            raise UsageError(f"zero points from {int(zero.min())} to {int(zero.max())}; ours are bytes")
    except UsageError as error:
        raise NotHeldError(str(error), _values(codes, scale.float(), zero, size, order)) from error
    scale, zero = regrouped(scale.float(), size, columns), regrouped(zero, size, columns)
    if bool((zero == 1 << (bits - 1)).all()):
        return Held(codes, scale, None, WeightFormat(bits, ours), order)
    return Held(codes, scale, zero.to(torch.uint8), WeightFormat(bits, ours, symmetric=False), order)


def _values(codes: Tensor, scale: Tensor, zero: Tensor, size: int, order: Tensor | None) -> Tensor:
    """f32 `[N, K]` of any group size."""
    columns = codes.shape[1]
    point, step = (x.repeat_interleave(size or columns, 1)[:, :columns] for x in (zero, scale))
    found = (codes.float() - point) * step
    return found if order is None else torch.empty_like(found).index_copy_(1, order, found)
