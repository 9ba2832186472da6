"""Temperatures of this machine, and waiting for them to fall: what is hot is slow. As devices/native/thermal.c."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ZONES = Path("/sys/class/thermal")
PROCESSOR = ("cpu", "soc", "pkg", "core")
NEAR = 1.0
LOOK_EVERY_S = 0.5


def hottest() -> float | None:
    """Degrees Celsius of the hottest zone of the processor, of all zones where none is named so; None: unreadable."""
    zones = [(_read(zone / "type"), _degrees(_read(zone / "temp"))) for zone in sorted(ZONES.glob("thermal_zone*"))]
    found = [(kind, degrees) for kind, degrees in zones if degrees is not None]
    processor = [degrees for kind, degrees in found if any(word in kind for word in PROCESSOR)]
    return max(processor or [degrees for _, degrees in found], default=None)


class Cooling:
    """Waits between measurements until it is as cool as when this was made, `limit_s` seconds in all at most.

    Attributes:
        waited_s: spent waiting so far.
    """

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.perf_counter,
                 sleep: Callable[[float], None] = time.sleep) -> None:  # fmt: skip
        self._limit_s, self._clock, self._sleep = limit_s, clock, sleep
        self.waited_s, self._looked = 0.0, float("-inf")
        self._start = self._highest = self._end = hottest()

    def wait(self) -> bool:
        """Wait if it is hot; True when it did. Sensors are slow, so they are read twice a second at most."""
        began, waited = self._clock(), self.waited_s
        if self._start is None or began - self._looked < LOOK_EVERY_S:
            return False
        while self._is_hot() and self.waited_s < self._limit_s:
            self._sleep(LOOK_EVERY_S)
            self.waited_s = waited + self._clock() - began
        return self.waited_s > waited

    def clock(self) -> float:
        """Seconds that pass while nothing waits: budgets are for measuring."""
        return self._clock() - self.waited_s

    def _is_hot(self) -> bool:
        self._looked, now = self._clock(), hottest()
        if now is None or self._start is None or self._highest is None:
            return False
        self._end, self._highest = now, max(self._highest, now)
        return now > self._start + NEAR

    def report(self) -> dict[str, Any] | None:
        """What a profile says of it; None where no temperature can be read."""
        if self._start is None:
            return None
        self._is_hot()
        return {
            "start_celsius": self._start,
            "highest_celsius": self._highest,
            "end_celsius": self._end,
            "waited_seconds": self.waited_s,
            "cool": self.waited_s < self._limit_s,
        }


def _degrees(text: str) -> float | None:
    """Of millidegrees; None for what no processor can be (a sensor that is off)."""
    celsius = int(text) / 1000 if text.lstrip("-").isdecimal() else 0.0
    return celsius if 0 < celsius < 150 else None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
