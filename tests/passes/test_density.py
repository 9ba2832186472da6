"""Modes of values: kernel density and peaks as scipy's `gaussian_kde` and `find_peaks(height, distance)` have them."""

from __future__ import annotations

import math

import pytest
import torch

from edgeq.passes.signs.density import POINTS, density, modes, peaks


def around(centre: float, count: int = 4000, width: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed)) * width + centre


@pytest.mark.parametrize("distance,expected", [(0.0, 1), (1.0, 1), (6.0, 2), (30.0, 2)])
def test_two_clouds_are_two_modes_once_they_lie_apart(distance, expected):
    assert modes(torch.cat([around(-distance / 2), around(distance / 2, seed=1)])) == expected


def test_three_clouds_are_three_modes_when_the_grid_tells_them_apart():
    assert modes(torch.cat([around(centre, seed=i) for i, centre in enumerate((-30.0, 0.0, 30.0))])) == 3


def test_a_cloud_of_few_values_is_too_low_to_be_a_mode():
    assert modes(torch.cat([around(-5.0), around(5.0, count=20, seed=1)])) == 1


def test_density_is_the_sum_of_kernels_of_scotts_width():
    values = torch.tensor([0.0, 1.0, 4.0])
    width = float(values.double().std()) * 3 ** (-1 / 5)
    at = 4.0 * 10 / (POINTS - 1)
    expected = sum(math.exp(-0.5 * ((at - x) / width) ** 2) for x in (0.0, 1.0, 4.0))
    assert float(density(values)[10]) == pytest.approx(expected, rel=1e-12)


def test_values_that_are_all_alike_have_no_mode():
    assert modes(torch.full((100,), 3.0)) == 0
    assert modes(torch.tensor([1.0])) == 0


def test_peaks_are_high_apart_and_inside():
    heights = torch.zeros(POINTS)
    heights[0], heights[20], heights[40], heights[90], heights[127] = 9.0, 5.0, 6.0, 4.0, 9.0
    assert peaks(heights) == [40, 90]  # 20 is lower than 40 and 20 points from it; the ends are no maxima
    heights[90] = 0.2  # below 1 % of the sum
    assert peaks(heights) == [40]
    heights[39:42] = 6.0
    assert peaks(heights) == [40]
