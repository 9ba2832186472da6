"""Which scale and zero point a group of weights gets: `minmax` covers every value, `mse` minimises squared error.

Each method is a function (groups float32[R, KG, L], format) -> (scale float32[R, KG], zero float32[R, KG]), where
`w ~ (code - zero) * scale`. The scale may be negative: below 8 bits symmetric, the value of largest magnitude gets code
0 (which is -8 at 4 bits) whatever its sign, so that all 16 codes are used (as llama.cpp's Q4_0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Grid(Protocol):
    """What a range depends on: a `WeightFormat`, or a number of bits that is only simulated."""

    @property
    def bits(self) -> int:
        """Of a code."""

    @property
    def zero_point(self) -> int | None:
        """The fixed middle of the codes, None when each group has its own."""


Range = Callable[[Tensor, Grid], tuple[Tensor, Tensor]]
WIDEST, NARROWEST = 1.12, 0.4  # of mse's candidates, relative to minmax's scale
LONG_GROUP = 512  # from here on outliers make narrow ranges worth trying


def minmax(groups: Tensor, fmt: Grid) -> tuple[Tensor, Tensor]:
    """The range that clips nothing; 0 is always representable. An all-zero group has scale 0."""
    low, high = groups.amin(-1), groups.amax(-1)
    if fmt.zero_point is None:
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = (high - low) / (2**fmt.bits - 1)
        return scale, torch.round(-low / _nonzero(scale))
    zero = torch.full_like(low, fmt.zero_point)
    if fmt.bits < 8:
        return torch.where(-low > high, low, high) / -fmt.zero_point, zero
    return torch.maximum(-low, high) / 127, zero


def mse(groups: Tensor, fmt: Grid) -> tuple[Tensor, Tensor]:
    """The range of least squared error among narrower and wider ones, each with its least-squares scale.

    For fixed codes `a = code - zero` the best scale is `<w, a> / <a, a>`, and the error it leaves is
    `<w, w> - <w, a>^2 / <a, a>`: candidates are ranked by the last term (as llama.cpp's make_qx_quants).
    """
    base, zero = minmax(groups, fmt)
    best_scale, best_score = base.clone(), torch.full_like(base, -1)
    for factor in _factors(groups.shape[-1], fmt):
        a = signed_codes(groups, base * factor, zero, fmt)
        wa, aa = torch.linalg.vecdot(groups, a), torch.linalg.vecdot(a, a)
        score = wa * wa / _nonzero(aa)
        better = score > best_score
        best_score = torch.where(better, score, best_score)
        best_scale = torch.where(better, wa / _nonzero(aa), best_scale)
    return best_scale, zero


def signed_codes(groups: Tensor, scale: Tensor, zero: Tensor, fmt: Grid) -> Tensor:
    """Nearest `code - zero` of each weight, as float32[R, KG, L]; 0 where the scale is 0."""
    inverse = torch.where(scale == 0, torch.zeros_like(scale), 1 / _nonzero(scale)).unsqueeze(-1)
    a = torch.round_(groups * inverse)
    if fmt.zero_point is not None:
        return a.clamp_(-fmt.zero_point, fmt.zero_point - 1)
    low = -zero.unsqueeze(-1)
    return torch.minimum(torch.maximum(a, low, out=a), low + (2**fmt.bits - 1), out=a)


RANGES: dict[str, Range] = {"minmax": minmax, "mse": mse}


def _factors(length: int, fmt: Grid) -> list[float]:
    """Candidate scales relative to minmax's, 1 among them. A scale below 1 clips; at 8 bits little clipping pays."""
    low = 0.8 if fmt.bits == 8 else NARROWEST if length >= LONG_GROUP else 0.72
    steps = 12 if fmt.bits == 8 else 16
    return [1.0] + [low + (WIDEST - low) * i / (steps - 1) for i in range(steps)]


def _nonzero(x: Tensor) -> Tensor:
    return torch.where(x == 0, torch.ones_like(x), x)
