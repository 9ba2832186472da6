"""Scales and zero points of a weight's groups, transposed: its columns are the rows that GPTQ works on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from edgeq.passes.rounding.rounded import Rounded
from edgeq.quant.ranges import RANGES, Grid, minmax, signed_codes
from edgeq.quant.simulate import QuantSpec
from edgeq.quant.stored_scale import stored_scale

WEIGHTED = "weighted"
METHODS = (*RANGES, WEIGHTED)
CHUNK = 1 << 18  # weights whose candidates are tried at a time: they stay in cache
NARROWEST, WIDEST, CANDIDATES = 0.4, 1.12, 19  # scales relative to that of minmax


class GroupRanges:
    """The grid of each group of a weight `[N, K]`, found a few groups at a time.

    Args:
        quant: bits, symmetry and group size.
        method: of `edgeq.quant.ranges.RANGES`, or `weighted`: least squared error where columns cost `cost`.
        cost: f32 `[K]`, what a squared error in a column costs.
        rows: N. name: what errors call the weight.

    Attributes:
        size: columns of a group; the last may be shorter.
        scale: f16 `[KG, N]` as stored. wide: the same, f32.
        zero: f32 `[KG, N]`, whole numbers.
    """

    def __init__(self, quant: QuantSpec, method: str, cost: Tensor, rows: int, name: str) -> None:
        columns = len(cost)
        self._quant, self._method, self._name, self._cost = quant, method, name, cost
        self.size = min(quant.group_size or columns, columns)
        groups = (-(-columns // self.size), rows)
        self.scale = torch.zeros(groups, dtype=torch.float16)
        self.wide, self.zero, self._inverse, self._high = (torch.zeros(groups) for _ in range(4))

    def fit(self, first: int, columns: Tensor) -> None:
        """Find the ranges of groups `first` and following from their weights f32 `[k, N]`, whole groups.

        Raises UnsupportedError when a scale does not fit fp16.
        """
        # zeros that fill up a shorter last group change no range: every grid holds 0
        rows = pad(columns, (0, 0, 0, -len(columns) % self.size)).T.contiguous()
        scale, zero = self._find(rows.reshape(len(rows), -1, self.size), first * self.size)
        own = slice(first, first + scale.shape[1])
        self.scale[own], self.zero[own] = stored_scale(scale, self._name).T, zero.T
        self.wide[own] = wide = self.scale[own].float()
        self._inverse[own] = torch.where(wide == 0, 0.0, 1 / torch.where(wide == 0, 1.0, wide))
        self._high[own] = 2**self._quant.weight_bits - 1 - self.zero[own]

    def nearest(self, column: Tensor, group: int) -> Tensor:
        """Nearest `code - zero` of f32 `[N]`, one weight a row, as `edgeq.quant.ranges.signed_codes` rounds it."""
        return torch.round_(column * self._inverse[group]).clamp_(-self.zero[group], self._high[group])

    def subtract(self, column: Tensor, nearest: Tensor, group: int) -> Tensor:
        """What is left of a column f32 `[N]` when `nearest` times the group's scale is taken off, in place."""
        return column.addcmul_(nearest, self.wide[group], value=-1)

    def rounded(self, signed: Tensor, groups: Tensor) -> Rounded:
        """The weight as stored, from `code - zero` f32 `[K, N]` and the group of each column."""
        codes = (signed + self.zero[groups]).to(torch.uint8).T.contiguous()
        zero = None if self._quant.symmetric else self.zero.to(torch.uint8).T.contiguous()
        return Rounded(codes, self.scale.T.contiguous(), zero)

    def _find(self, groups: Tensor, first: int) -> tuple[Tensor, Tensor]:
        """Scale and zero `[N, G]` of groups f32 `[N, G, size]` whose first column is `first`."""
        if self._method != WEIGHTED:
            return RANGES[self._method](groups, self._quant.grid)
        count = groups.shape[1] * self.size
        own = self._cost[first : first + count]
        cost = pad(own, (0, count - len(own))).reshape(-1, self.size)
        parts = groups.split(max(1, CHUNK // count))
        scale, zero = zip(*(weighted(part, self._quant.grid, cost) for part in parts), strict=True)
        return torch.cat(scale), torch.cat(zero)


def weighted(groups: Tensor, grid: Grid, cost: Tensor) -> tuple[Tensor, Tensor]:
    """The range of least `sum_j c_j (w_j - q_j)^2` for groups f32 `[N, G, L]` and costs f32 `[G, L]`.

    As `edgeq.quant.ranges.mse`: each candidate's codes `a` get their least-squares scale `<cw, a> / <ca, a>`, and the
    error that is left falls with `<cw, a>^2 / <ca, a>`.
    """
    base, zero = minmax(groups, grid)
    best, most = base.clone(), torch.full_like(base, -1)
    costly = groups * cost
    for factor in (1.0, *torch.linspace(NARROWEST, WIDEST, CANDIDATES).tolist()):
        a = signed_codes(groups, base * factor, zero, grid)
        wa, aa = torch.linalg.vecdot(costly, a), torch.linalg.vecdot(a.square(), cost)
        scale = torch.where(aa == 0, 0.0, wa / torch.where(aa == 0, 1.0, aa))
        better = wa * scale > most
        most, best = torch.where(better, wa * scale, most), torch.where(better, scale, best)
    return best, zero
