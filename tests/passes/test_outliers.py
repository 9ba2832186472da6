"""Coarse-to-fine outliers against a plain implementation of the formulas, and the edge cases."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.passes.cfp import cut, outlier_scale
from edgeq.passes.clips.outliers import reserved_maximum


def by_definition(values):
    """Quadratic in the candidates, one split at a time."""
    ordered = sorted(values)
    n = len(ordered)
    first, third = ordered[-(-n // 4) - 1], ordered[-(-3 * n // 4) - 1]
    threshold = third + 1.5 * (third - first)
    candidates = [v for v in ordered if v > threshold]
    best, found = -float("inf"), None
    for i in range(len(candidates)):
        lower = candidates[:i]
        below = lower[-1] if lower else max(v for v in ordered if v <= threshold)
        mean = sum(lower) / i if i else 0
        variance = sum((v - mean) ** 2 for v in lower) / i if i else 0
        score = (candidates[i] - below) ** 2 - variance
        if score > best + 1e-9:
            best, found = score, below
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 400).map(lambda n: n / 4), min_size=1, max_size=40))
def test_the_split_is_the_one_of_the_formula(values):
    found, expected = reserved_maximum(torch.tensor(values)), by_definition(values)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found.item() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 1.1, 1.2, 1.3], None),  # no candidate
        ([2.0] * 9, None),  # all equal
        ([0.0] * 9, None),
        ([1.0], None),
        ([1.0, 1.1, 1.2, 1.3, 9.0], 1.3),  # one candidate is the outlier
        ([*torch.linspace(1, 2, 20).tolist(), 4.0, 4.1, 50.0], 4.1),  # the widest gap splits the candidates
    ],
)
def test_edge_cases(values, expected):
    found = reserved_maximum(torch.tensor(values))
    assert (None if found is None else pytest.approx(found.item())) == expected


def test_outlier_channels_get_the_square_root_and_others_stay():
    magnitudes = torch.tensor([1.0, 1.2, 0.9, 1.1, 16.0, 1.0, 0.8, 20.0])
    scale = outlier_scale(magnitudes)
    expected = torch.ones(8)
    expected[4], expected[7] = (16 / 1.2) ** 0.5, (20 / 1.2) ** 0.5
    torch.testing.assert_close(scale, expected)
    assert outlier_scale(torch.ones(8)) is None


def test_weights_are_looked_at_by_row_or_all_together():
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    weight[3] *= 5
    weight[5, 7] = -40.0
    by_row, whole = cut(weight, "row"), cut(weight, "matrix")
    assert by_row["limit"].shape == (16, 1)
    assert whole["limit"].shape == (1,)
    assert whole["limit"] < 40
    assert by_row["limit"][5] < 4
    assert by_row["limit"][3] > 5
    assert 0 < whole["share"] <= 0.05
