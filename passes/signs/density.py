"""How many modes the values of an activation have: a Gaussian kernel density and its peaks."""

from __future__ import annotations

import torch
from torch import Tensor

POINTS = 128  # of the grid between the smallest and the largest value
HEIGHT = 0.01  # of the summed density, that a peak has at least
SEPARATION = 32  # grid points between two peaks, at least
CHUNK = 8192  # values at a time: bounds memory


def density(values: Tensor) -> Tensor:
    """Density of values `[n]` at `POINTS` equal steps from the smallest to the largest, f64, unnormalised.

    A Gaussian kernel of Scott's width (Multivariate Density Estimation, 1992, eq. 6.42): the standard deviation times
    `n ** (-1/5)`. Values that are all alike have no density: zeros.
    """
    x = values.detach().flatten().double()
    width = float(x.std()) * len(x) ** -0.2 if len(x) > 1 else 0.0
    if not width > 0:
        return torch.zeros(POINTS, dtype=torch.float64)
    low, high = float(x.min()), float(x.max())
    grid = torch.linspace(low, high, POINTS, dtype=torch.float64)[:, None]
    return sum((_kernel(grid, part, width) for part in x.split(CHUNK)), torch.zeros(POINTS, dtype=torch.float64))


def peaks(heights: Tensor) -> list[int]:
    """Grid points that are local maxima, high enough, the higher first when two lie too close; ascending.

    A flat top counts once, at its middle; the ends of the grid are no maxima.
    """
    floor = HEIGHT * float(heights.sum())
    found = [at for at in _maxima(heights.tolist()) if float(heights[at]) >= floor]
    kept: list[int] = []
    for at in sorted(found, key=lambda point: -float(heights[point])):
        if all(abs(at - other) >= SEPARATION for other in kept):
            kept.append(at)
    return sorted(kept)


def modes(values: Tensor) -> int:
    """How many peaks the density of values has; two make an activation bimodal (PTQ4SAM, CVPR 2024, section 3.2)."""
    return len(peaks(density(values)))


def _kernel(grid: Tensor, values: Tensor, width: float) -> Tensor:
    return torch.exp(-0.5 * ((grid - values) / width) ** 2).sum(1)


def _maxima(heights: list[float]) -> list[int]:
    found, start = [], 0
    for at in range(1, len(heights)):
        if heights[at] == heights[at - 1]:
            continue
        if start > 0 and heights[start - 1] < heights[start] > heights[at]:
            found.append((start + at - 1) // 2)
        start = at
    return found
