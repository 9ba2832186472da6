"""Two 0/1 planes (`p2`) and tables of four (`c4`) a group, fitted: where they begin, and rounds that never add error.

A round gives every weight its nearest value, then every value (of planes: both numbers at once) its least-squares one
for those codes; neither half can raise the error.
`cost` f32 `[G, L]` weighs a squared error in each column, None: all alike.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from edgeq.quant.format import WeightFormat
from edgeq.quant.stored_scale import stored_scale

ROUNDS = 10  # after which next to nothing changes
QUANTILES = 17  # breaks that are tried between concentrated and sparse weights
_SIZES = torch.linspace(0.2, 1.0, 17).tolist()  # of a plane's scale, relative to half the largest magnitude
Numbers: TypeAlias = Tensor  # f32 [R, G, 2] of planes, [R, G, 4] of tables


def planes(groups: Tensor, fmt: WeightFormat, method: str, name: str) -> tuple[Tensor, Tensor, None]:
    """FDB (DB-LLM, section 3.2): levels `-s, 0, s, 2s` at first, `2s` on the side that has less error; then rounds."""
    return stored(groups, refined(groups, planes_start(groups), ROUNDS), name)


def codebook(groups: Tensor, fmt: WeightFormat, method: str, name: str) -> tuple[Tensor, Tensor, None]:
    """BiLLM's split of a bell: `m1 +- a1` of small weights, `m2 +- a2` of large ones; then rounds."""
    return stored(groups, refined(groups, split_start(groups), ROUNDS), name)


def planes_start(groups: Tensor, cost: Tensor | None = None) -> Numbers:
    """`(2s, -s)` f32 `[R, G, 2]`, s of either sign: the one of least squared error."""
    half = groups.abs().amax(-1) / 2
    best, least = torch.stack([2 * half, -half], -1), torch.full(half.shape, torch.inf)
    for size in _SIZES:
        for sign in (1.0, -1.0):
            numbers = torch.stack([half * (2 * size * sign), half * (-size * sign)], -1)
            error = _squared(groups - values(nearest(groups, numbers), numbers), cost)
            better = error < least
            best, least = torch.where(better.unsqueeze(-1), numbers, best), torch.where(better, error, least)
    return best


def split_start(groups: Tensor, cost: Tensor | None = None, quantiles: int = QUANTILES) -> Numbers:
    """BiLLM's bell-shaped split: weights up to a break (a quantile of magnitudes from 0.1 to 0.9) and beyond it, each
    part as two values; the break of least squared error, row by row."""
    magnitude = groups.abs()
    ordered = magnitude.sort(-1).values
    best, least = torch.zeros(*groups.shape[:-1], 4), torch.full(groups.shape[:-1], torch.inf)
    for share in torch.linspace(0.1, 0.9, quantiles).tolist():
        at = ordered[..., round(share * (groups.shape[-1] - 1))].unsqueeze(-1)
        small = magnitude <= at
        numbers = torch.cat([_sides(groups, small, cost)[0], _sides(groups, ~small, cost)[0]], -1)
        error = _squared(groups - values(nearest(groups, numbers), numbers), cost)
        better = error < least
        best, least = torch.where(better.unsqueeze(-1), numbers, best), torch.where(better, error, least)
    return best


def residual_start(groups: Tensor, cost: Tensor | None = None) -> Numbers:
    """BiLLM's residual binarization `B(w) + B(w - B(w))` of salient columns: two signs and two magnitudes."""
    everything = torch.ones_like(groups, dtype=torch.bool)
    first, mean = _sides(groups, everything, cost)
    rest = groups - torch.where(groups >= mean.unsqueeze(-1), first[..., 1:], first[..., :1])
    second, _ = _sides(rest, everything, cost)
    return (first.unsqueeze(-1) + second.unsqueeze(-2)).flatten(-2)


def refined(groups: Tensor, numbers: Numbers, rounds: int, cost: Tensor | None = None) -> Numbers:
    """After so many rounds of nearest codes and least squares."""
    for _ in range(rounds):
        numbers = _least_squares(groups, nearest(groups, numbers), numbers, cost)
    return numbers


def nearest(groups: Tensor, numbers: Numbers) -> Tensor:
    """Codes u8 `[..., L]` of the nearest values; of values equally near, the smaller code."""
    table = _table(numbers).unbind(-1)
    best = torch.zeros_like(groups, dtype=torch.uint8)
    least = (groups - table[0].unsqueeze(-1)).abs()
    for code in range(1, 4):
        distance = (groups - table[code].unsqueeze(-1)).abs()
        best.masked_fill_(distance < least, code)
        least = torch.minimum(least, distance)
    return best


def values(codes: Tensor, numbers: Numbers) -> Tensor:
    """f32 `[..., L]`: what codes stand for."""
    return _table(numbers).gather(-1, codes.long())


def stored(groups: Tensor, numbers: Numbers, name: str) -> tuple[Tensor, Tensor, None]:
    """(nearest codes of the numbers as stored, the numbers f16 `[R, G * numbers]`, None)."""
    kept = stored_scale(numbers, name)
    return nearest(groups, kept.float()), kept.flatten(1), None


def _table(numbers: Numbers) -> Tensor:
    """f32 `[..., 4]`."""
    if numbers.shape[-1] == 4:
        return numbers
    first, second = numbers.unbind(-1)
    return torch.stack([torch.zeros_like(first), first, second, first + second], -1)


def _squared(error: Tensor, cost: Tensor | None) -> Tensor:
    return error.square().sum(-1) if cost is None else (error.square() * cost).sum(-1)


def _sides(groups: Tensor, part: Tensor, cost: Tensor | None) -> tuple[Tensor, Tensor]:
    """((low, high) f32 `[..., 2]`, mean f32 `[...]`) of the weights in `part`: means below their mean, and from it on.

    BiLLM has `mean -+ mean |w - mean|` there, which is the same where as many lie on either side; these are nearer.
    """
    weight = part.float() if cost is None else part * cost
    mean = _mean(groups, weight, torch.zeros_like(groups[..., 0]))
    above = groups >= mean.unsqueeze(-1)
    return torch.stack([_mean(groups, weight * ~above, mean), _mean(groups, weight * above, mean)], -1), mean


def _mean(groups: Tensor, weight: Tensor, otherwise: Tensor) -> Tensor:
    count = weight.sum(-1)
    return torch.where(count > 0, (groups * weight).sum(-1) / torch.where(count > 0, count, 1.0), otherwise)


def _least_squares(groups: Tensor, codes: Tensor, numbers: Numbers, cost: Tensor | None) -> Numbers:
    """The numbers of least squared error for fixed codes; those that nothing depends on stay as they are."""
    weight = torch.ones_like(groups) if cost is None else cost.expand_as(groups)
    if numbers.shape[-1] == 2:
        return _two(groups, codes, numbers, weight)
    sums = torch.zeros_like(numbers).scatter_add_(-1, codes.long(), groups * weight)
    counts = torch.zeros_like(numbers).scatter_add_(-1, codes.long(), weight.contiguous())
    return torch.where(counts > 0, sums / torch.where(counts > 0, counts, 1.0), numbers)


def _two(groups: Tensor, codes: Tensor, numbers: Numbers, weight: Tensor) -> Numbers:
    """2 x 2 least squares of `w ~ a1 b1 + a2 b2`, group by group."""
    b1, b2 = (codes & 1).float(), (codes >> 1).float()
    n1, n2, both = (b1 * weight).sum(-1), (b2 * weight).sum(-1), (b1 * b2 * weight).sum(-1)
    p1, p2 = (groups * b1 * weight).sum(-1), (groups * b2 * weight).sum(-1)
    scale = torch.where(n1 * n2 > 0, n1 * n2, 1.0)
    det = 1 - both * both / scale  # of the matrix, relative to n1 n2
    solvable = (n1 * n2 > 0) & (det > 1e-6)
    safe = torch.where(solvable, det * scale, 1.0)
    solved = torch.stack([(p1 * n2 - p2 * both) / safe, (p2 * n1 - p1 * both) / safe], -1)
    alone = torch.stack([_alone(p1, n1, n2, numbers[..., 0]), _alone(p2, n2, n1, numbers[..., 1])], -1)
    return torch.where(solvable.unsqueeze(-1), solved, alone)


def _alone(product: Tensor, count: Tensor, other: Tensor, before: Tensor) -> Tensor:
    """A number whose plane is the only one with bits."""
    return torch.where((count > 0) & (other == 0), product / torch.where(count > 0, count, 1.0), before)
