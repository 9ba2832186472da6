"""When a measurement stops, and what it says of itself."""

from __future__ import annotations

import itertools

from edgeq.measure.spread import MOST, repeat, summarize


def fake_clock(step: float):
    counter = itertools.count()
    return lambda: next(counter) * step


def test_steady_runs_stop_at_the_least_number():
    result = repeat(lambda: 100.0, budget_s=1e9, least=5)
    assert (len(result.samples), result.mean, result.stdev, result.stable) == (5, 100.0, 0.0, True)


def test_noise_is_repeated_until_it_settles():
    values = itertools.chain([50.0, 100.0, 100.0, 100.0, 100.0], itertools.repeat(100.0))
    result = repeat(lambda: next(values), budget_s=1e9, least=5)
    assert 5 < len(result.samples) <= MOST


def test_what_never_settles_says_so():
    values = itertools.cycle([50.0, 100.0])
    result = repeat(lambda: next(values), budget_s=1e9, least=5)
    assert len(result.samples) == MOST
    assert not result.stable
    assert (result.median, result.best) == (75.0, 100.0)


def test_the_budget_ends_it_but_not_before_the_least_number():
    values = itertools.cycle([50.0, 100.0])
    result = repeat(lambda: next(values), budget_s=3.0, least=5, clock=fake_clock(10.0))
    assert len(result.samples) == 5


def test_one_sample_is_never_called_stable():
    assert not summarize([3.0]).stable
