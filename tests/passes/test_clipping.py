"""Limits of static scales: what each method keeps of known distributions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from edgeq.passes.clips.clipping import METHODS, Histogram, kl, mse, percentile, tokens_limit
from edgeq.quant.simulate import fake_tensor


def _normal(rows: int = 512, seed: int = 0) -> Tensor:
    return torch.randn(rows, 64, generator=torch.Generator().manual_seed(seed))


def _with_outlier() -> list[Tensor]:
    x = _normal()
    x[100, 3] = -60
    return [x[:200], x[200:]]


def test_a_histogram_counts_every_value_once_whatever_the_parts() -> None:
    x = torch.cat([_normal(), torch.zeros(8, 64)])
    whole, parts = Histogram.of([x]), Histogram.of([x[:7], x[7:]])
    assert whole.counts.sum() == 512 * 64 and whole.zeros == 8 * 64
    assert torch.equal(whole.counts, parts.counts) and whole.top == parts.top == float(x.abs().max())


@pytest.mark.parametrize("method", sorted(METHODS))
def test_no_method_reaches_beyond_the_largest_value_and_zeros_are_fine(method: str) -> None:
    find = METHODS[method]
    assert 0 < find(Histogram.of([_normal()]), 8) <= float(_normal().abs().max())
    assert find(Histogram.of([torch.zeros(4, 16)]), 8) == 0


def test_minmax_keeps_an_outlier_and_the_others_clip_it() -> None:
    seen = Histogram.of(_with_outlier())
    assert METHODS["minmax"](seen, 8) == 60
    assert 2 < mse(seen, 4) < 10  # at 8 bits the steps are small even so
    assert 2 < kl(seen, 8) < 10
    assert 3 < percentile(seen, 99.99) < 5


@pytest.mark.parametrize("percent", [50.0, 99.0, 99.9])
def test_a_percentile_is_that_of_all_magnitudes(percent: float) -> None:
    x = torch.cat([_normal(), torch.zeros(100, 64)])
    exact = float(torch.quantile(x.abs().flatten(), percent / 100))
    assert percentile(Histogram.of([x]), percent) == pytest.approx(exact, rel=2e-3)
    assert percentile(Histogram.of([x]), 100.0) == float(x.abs().max())


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_least_squared_error_is_that_of_the_values_themselves(bits: int) -> None:
    parts = _with_outlier()
    x, top = torch.cat(parts), 2 ** (bits - 1) - 1

    def error(limit: float) -> float:
        return float((fake_tensor(x, bits, torch.tensor([limit / top])) - x).square().sum())

    best = min(error(60 * i / 128) for i in range(1, 129))
    assert error(mse(Histogram.of(parts), bits)) <= 1.01 * best


def test_the_divergence_keeps_values_that_are_spread_evenly() -> None:
    even = torch.rand(512, 64, generator=torch.Generator().manual_seed(0))
    assert kl(Histogram.of([even]), 8) > 0.95


def test_token_wise_clipping_discards_a_giant_token_and_at_ratio_1_nothing() -> None:
    x = _normal(1000)
    usual = float(x.abs().max())
    x[17] *= 100
    high, low = x.amax(1), x.amin(1)
    assert tokens_limit(high, low, 1.0) == float(x.abs().max())
    assert tokens_limit(high, low, 0.99) <= usual
