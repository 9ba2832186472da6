"""GPTQ's loop: columns of a weight are rounded one after the other, each error spread over those still to come."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeq.passes.rounding.group_ranges import GroupRanges
from edgeq.quant.simulate import QuantSpec


@dataclass(frozen=True)
class Rounded:
    """A weight `[N, K]` as stored: codes u8 `[N, K]`, scale f16 `[N, KG]`, zero u8 `[N, KG]`, None when symmetric."""

    codes: Tensor
    scale: Tensor
    zero: Tensor | None

    def __getitem__(self, rows: Tensor) -> Rounded:
        """Rows of those numbers."""
        return Rounded(self.codes[rows], self.scale[rows], None if self.zero is None else self.zero[rows])

    def split(self, sizes: list[int]) -> list[Rounded]:
        """Parts of so many rows each."""
        zeros = [None] * len(sizes) if self.zero is None else self.zero.split(sizes)
        return [Rounded(*part) for part in zip(self.codes.split(sizes), self.scale.split(sizes), zeros, strict=True)]

    def values(self, quant: QuantSpec) -> Tensor:
        """f32 `[N, K]` that the stored numbers stand for: `(code - zero) * scale`."""
        columns = self.codes.shape[1]
        size = min(quant.group_size or columns, columns)

        def wide(groups: Tensor) -> Tensor:
            return groups.float().repeat_interleave(size, 1)[:, :columns]

        zero = quant.grid.zero_point if self.zero is None else wide(self.zero)
        return (self.codes.float() - zero) * wide(self.scale)


def round_columns(
    weight: Tensor,
    upper: Tensor,
    quant: QuantSpec,
    *,
    method: str = "minmax",
    order: Tensor | None = None,
    block: int = 128,
    name: str = "weight",
) -> Rounded:
    """Round a weight so that later columns make up for the errors of earlier ones (GPTQ, ICLR 2023, algorithm 1).

    Args:
        weight: f32 `[N, K]`, in the columns' own order.
        upper: f32 `[K, K]`, U of `H^-1 = U^T U`, in the order in which columns are rounded.
        quant: bits, symmetry and group size of the weight.
        method: how a group's range is found, of `group_ranges.METHODS`; `weighted` counts an error in a column as
            GPTQ's own loss does, `1 / U_ii^2`.
        order: i64 `[K]`, which column comes when; the ranges are then those of the weight as it came (static groups).
            None: as they are, and a group's range is found when its first column comes, of the weight as updated then.
        block: columns after which their errors are spread over all others in one product; changes no result.
        name: what errors call the weight.

    Raises:
        UnsupportedError: a scale does not fit fp16.
    """
    rows, columns = weight.shape
    cost = upper.diagonal().square().reciprocal()
    ranges = GroupRanges(quant, method, cost if order is None else cost[order.argsort()], rows, name)
    work = weight.T.float().clone(memory_format=torch.contiguous_format)
    groups = torch.arange(columns) // ranges.size
    if order is None:
        _loop(work, upper, ranges, groups.tolist(), block, fit=True)
        return _stored(work, ranges, groups, quant.symmetric)
    ranges.fit(0, work)
    work = work[order]
    _loop(work, upper, ranges, groups[order].tolist(), block, fit=False)
    return _stored(work[order.argsort()], ranges, groups, quant.symmetric)


def _loop(work: Tensor, upper: Tensor, ranges: GroupRanges, groups: list[int], block: int, fit: bool) -> None:
    """Turn columns f32 `[K, N]` into `code - zero`, in place; `fit`: find each group's range when it begins."""
    scales = upper.diagonal().tolist()
    for start in range(0, len(work), block):
        end = min(start + block, len(work))
        errors = work.new_empty(end - start, work.shape[1])
        for i in range(start, end):
            done, made = slice(start, i), errors[: i - start]
            if fit and i % ranges.size == 0:
                ahead = slice(i, i + ranges.size)
                ranges.fit(i // ranges.size, work[ahead] - upper[done, ahead].T @ made)
            column = torch.addmv(work[i], made.T, upper[done, i], alpha=-1)
            nearest = ranges.nearest(column, groups[i])
            torch.div(column.addcmul_(nearest, ranges.wide[groups[i]], value=-1), scales[i], out=errors[i - start])
            work[i] = nearest
        work[end:].addmm_(upper[start:end, end:].T, errors, alpha=-1)


def _stored(signed: Tensor, ranges: GroupRanges, groups: Tensor, symmetric: bool) -> Rounded:
    codes = (signed + ranges.zero[groups]).to(torch.uint8).T.contiguous()
    zero = None if symmetric else ranges.zero.to(torch.uint8).T.contiguous()
    return Rounded(codes, ranges.scale.T.contiguous(), zero)
