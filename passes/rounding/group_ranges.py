"""Scales and zero points of a weight's groups, transposed: its columns are the rows that GPTQ works on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from edgeq.quant.quantizer import stored_scale
from edgeq.quant.ranges import RANGES
from edgeq.quant.simulate import QuantSpec


class GroupRanges:
    """The grid of each group of a weight `[N, K]`, found a few groups at a time.

    Args:
        quant: bits, symmetry and group size. method: of `edgeq.quant.ranges.RANGES`.
        shape: `(N, K)` of the weight. name: what errors call it.

    Attributes:
        size: columns of a group; the last may be shorter.
        scale: f16 `[KG, N]` as stored. wide: the same, f32.
        zero: f32 `[KG, N]`, whole numbers.
    """

    def __init__(self, quant: QuantSpec, method: str, shape: tuple[int, int], name: str) -> None:
        rows, columns = shape
        self._quant, self._method, self._name = quant, method, name
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
        scale, zero = RANGES[self._method](rows.reshape(len(rows), -1, self.size), self._quant.grid)
        own = slice(first, first + scale.shape[1])
        self.scale[own], self.zero[own] = stored_scale(scale, self._name).T, zero.T
        self.wide[own] = wide = self.scale[own].float()
        self._inverse[own] = torch.where(wide == 0, 0.0, 1 / torch.where(wide == 0, 1.0, wide))
        self._high[own] = 2**self._quant.weight_bits - 1 - self.zero[own]

    def nearest(self, column: Tensor, group: int) -> Tensor:
        """Nearest `code - zero` of f32 `[N]`, one weight a row, as `edgeq.quant.ranges.signed_codes` rounds it."""
        return torch.round_(column * self._inverse[group]).clamp_(-self.zero[group], self._high[group])
