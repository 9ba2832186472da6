"""Repeat a measurement until it agrees with itself, or say that it does not."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

STABLE = 0.03
LEAST, MOST = 5, 30


@dataclass(frozen=True)
class Spread:
    """What repeated runs of one measurement gave; the unit is the measurement's.

    Attributes:
        mean, stdev, median, best: over `samples`; `best` is the largest.
        samples: every run, in order.
        stable: the standard deviation is at most 3 % of the mean.
    """

    mean: float
    stdev: float
    median: float
    best: float
    samples: tuple[float, ...]
    stable: bool


def summarize(samples: list[float]) -> Spread:
    """Spread of at least one sample."""
    mean = statistics.fmean(samples)
    stdev = deviation(samples)
    stable = len(samples) > 1 and stdev <= STABLE * mean
    return Spread(mean, stdev, statistics.median(samples), max(samples), tuple(samples), stable)


def deviation(samples: Sequence[float]) -> float:
    """Sample standard deviation; 0 of a single sample."""
    return statistics.stdev(samples) if len(samples) > 1 else 0.0


def repeat(
    run: Callable[[], float],
    budget_s: float,
    least: int = LEAST,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[], bool] = lambda: False,
) -> Spread:
    """Call `run` at least `least` times, then until results are stable, MOST runs or `budget_s` seconds are used.

    `pause` is called before each; where it took time, one run more warms up and does not count.
    """
    samples: list[float] = []
    start = clock()
    while len(samples) < least or (len(samples) < MOST and clock() - start < budget_s):
        if pause():
            run()
        samples.append(run())
        if len(samples) >= least and summarize(samples).stable:
            break
    return summarize(samples)
