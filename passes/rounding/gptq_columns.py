"""GPTQ's loop: columns of a weight are rounded one after the other, each error spread over those still to come."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.passes.rounding.group_levels import GroupLevels
from edgeq.passes.rounding.group_ranges import GroupRanges
from edgeq.passes.rounding.rounded import Rounded
from edgeq.quant.simulate import QuantSpec

__all__ = ["Rounded", "round_columns"]
Groups = GroupRanges | GroupLevels


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
        quant: bits, kind, symmetry and group size of the weight.
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
    kind = GroupRanges if quant.kind == "int" else GroupLevels
    ranges = kind(quant, method, cost if order is None else cost[order.argsort()], rows, name)
    work = weight.T.float().clone(memory_format=torch.contiguous_format)
    groups = torch.arange(columns) // ranges.size
    if order is None:
        _loop(work, upper, ranges, groups.tolist(), block, fit=True)
        return ranges.rounded(work, groups)
    ranges.fit(0, work)
    work = work[order]
    _loop(work, upper, ranges, groups[order].tolist(), block, fit=False)
    return ranges.rounded(work[order.argsort()], groups)


def _loop(work: Tensor, upper: Tensor, ranges: Groups, groups: list[int], block: int, fit: bool) -> None:
    """Turn columns f32 `[K, N]` into what the grid calls nearest, in place; `fit`: find a group when it begins."""
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
            torch.div(ranges.subtract(column, nearest, groups[i]), scales[i], out=errors[i - start])
            work[i] = nearest
        work[end:].addmm_(upper[start:end, end:].T, errors, alpha=-1)
