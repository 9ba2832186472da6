"""GPTQ's loop over a weight that is pruned on the way: what is not kept is rounded to 0, its error spread too."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.passes.rounding.gptq_columns import Rounded
from edgeq.passes.rounding.group_ranges import GroupRanges
from edgeq.passes.rounding.sparsity import QUAD, best_two
from edgeq.quant.simulate import QuantSpec


def prune_columns(
    weight: Tensor, upper: Tensor, quant: QuantSpec, spread: Tensor, unit: float, *, block: int = 128,
    method: str = "minmax", name: str = "weight",
) -> Rounded:  # fmt: skip
    """Prune 2:4 and round, columns in their order (SparseGPT, ICML 2023, with JSQ's score).

    Which two of four are kept is decided when the first of them comes, of the weights as earlier columns have changed
    them: the score's first term is `|w| / U_jj * unit`, the error that leaving the weight out makes once later columns
    have made up for it. With `spread` 0 that is SparseGPT's choice.

    Args:
        weight: f32 `[N, K]`, K a multiple of 4.
        upper: f32 `[K, K]`, U of `H^-1 = U^T U`.
        quant: the grid.
        spread: f32 `[N, K]`, the score's second term.
        unit: what the first is measured in; `1 / U_jj` alone is smaller than an input's norm where others know of it.
        block: columns after which errors are spread over all others in one product, a multiple of 4; changes no result.
        method: how a group's range is found, of `group_ranges.METHODS`.

    Raises UnsupportedError: a scale does not fit fp16.
    """
    rows, columns = weight.shape
    ranges = GroupRanges(quant, method, upper.diagonal().square().reciprocal(), rows, name)
    work = weight.T.float().clone(memory_format=torch.contiguous_format)
    cost = unit / upper.diagonal()
    for start in range(0, columns, block):
        end = min(start + block, columns)
        errors = work.new_empty(end - start, rows)
        for i in range(start, end):
            done, made = slice(start, i), errors[: i - start]
            if i % ranges.size == 0:
                group = slice(i, i + ranges.size)
                ranges.fit(i // ranges.size, work[group] - upper[done, group].T @ made)
            if i % QUAD == 0:
                quad = slice(i, i + QUAD)
                ahead = work[quad] - upper[done, quad].T @ made
                keep = best_two((ahead.abs() * cost[quad, None]).T + spread[:, quad]).T
            column = torch.addmv(work[i], made.T, upper[done, i], alpha=-1)
            nearest = ranges.nearest(column, i // ranges.size) * keep[i % QUAD]
            errors[i - start] = (column - nearest * ranges.wide[i // ranges.size]) / upper[i, i]
            work[i] = nearest
        work[end:].addmm_(upper[start:end, end:].T, errors, alpha=-1)
    zero = ranges.zero[torch.arange(columns) // ranges.size]
    codes = (work + zero).to(torch.uint8).T.contiguous()
    stored = None if quant.symmetric else ranges.zero.to(torch.uint8).T.contiguous()
    return Rounded(codes, ranges.scale.T.contiguous(), stored)
