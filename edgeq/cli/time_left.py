"""How long a stage of long work still takes, by its rate so far."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

LEAST_S = 2.0  # of work, before its rate says anything
UNITS = ((90.0, 1.0, "s"), (90 * 60.0, 60.0, "min"), (math.inf, 3600.0, "h"))  # below, in seconds, name


class TimeLeft:
    """The time left of one stage, from what was done since its first report (work done earlier does not count)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, int] | None = None
        self._end = math.nan

    def report(self, done: int, total: int) -> None:
        """`done` of `total` (0: unknown)."""
        now = self._clock()
        if self._first is None:
            self._first = now, done
        start, before = self._first
        known = before < done < total and now - start >= LEAST_S
        self._end = now + (now - start) / (done - before) * (total - done) if known else math.nan

    def seconds(self) -> float:
        """Seconds left, NaN when there is no telling; the rest of the estimate between two reports, at least 0."""
        return max(self._end - self._clock(), 0.0) if not math.isnan(self._end) else math.nan

    def words(self) -> str:
        """`about 40 s left`, `""` when there is no telling."""
        left = self.seconds()
        return "" if math.isnan(left) else f"about {rounded(left)} left"


def rounded(seconds: float) -> str:
    """Two digits at most: `8 s`, `40 s`, `12 min`, `2.5 h`."""
    size, name = next((size, name) for below, size, name in UNITS if seconds < below)
    count = seconds / size
    if name == "h":
        return f"{count:.1f} {name}" if count < 9.95 else f"{count:.0f} {name}"
    step = 5 if name == "s" and count >= 20 else 1
    return f"{max(math.ceil(count / step) * step, 1)} {name}"
