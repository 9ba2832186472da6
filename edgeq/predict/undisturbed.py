"""Times of regions that other processes did not disturb: a plan's walks are long, its regions are short.

Of each region the runs count that take at most half again as long as its fastest ones, and of these the median. On a
quiet machine that is the median of all. On one that others use too, a whole walk is hardly ever left alone, but most
regions are in some of their runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgeq.runtime.loader import Session

FASTEST, LONGER = 0.05, 1.5  # share of runs that are surely undisturbed; others may take so many times as long
LEAST, MOST = 4, 1000


def region_seconds(session: Session, entry: str, walk: Callable[[], object], budget_s: float) -> np.ndarray:
    """Seconds of every region of an entry, f64 [runs, regions]; `walk` walks over the entry (any number of times).

    At least 4 runs (2 of walks longer than the budget), then until `budget_s` seconds are used.
    """
    walk()
    found: list[np.ndarray] = []
    start = time.perf_counter()
    while _goes_on(len(found), time.perf_counter() - start, budget_s):
        session.profile_start()
        walk()
        profile = session.profile(entry)
        found.append(profile.total_ns / max(profile.walks, 1) * 1e-9)
    session.profile_stop()
    return np.stack(found)


def _goes_on(done: int, passed: float, budget_s: float) -> bool:
    least = LEAST if passed < 2 * budget_s else 2
    return done < least or (done < MOST and passed < budget_s)


def undisturbed(runs: np.ndarray) -> np.ndarray:
    """Of f64 [runs, regions], the seconds of each region [regions] when it is left alone."""
    alone = runs <= LONGER * np.quantile(runs, FASTEST, axis=0, method="lower")
    return np.asarray(np.nanmedian(np.where(alone, runs, np.nan), axis=0))


def spread(runs: np.ndarray) -> float:
    """How far the first half of the runs and the second half disagree on the sum, as a share of it."""
    half = len(runs) // 2
    first, second = undisturbed(runs[:half]).sum(), undisturbed(runs[half:]).sum()
    return float(abs(first - second) / min(first, second))
