"""Waiting for this machine to cool, on files that stand for /sys; no time passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeq.measure import heat
from edgeq.measure.spread import repeat


@pytest.fixture
def zones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(heat, "ZONES", tmp_path)
    return tmp_path


def zone(folder: Path, number: int, kind: str, millidegrees: int) -> Path:
    path = folder / f"thermal_zone{number}"
    path.mkdir()
    (path / "type").write_text(f"{kind}\n")
    (path / "temp").write_text(f"{millidegrees}\n")
    return path / "temp"


class Time:
    """A clock that only sleeping moves; `then` happens while it sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.then = lambda: None

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.then()


def test_the_processors_zones_count_and_dead_sensors_do_not(zones):
    zone(zones, 0, "cpu-0", 41000)
    zone(zones, 1, "battery", 80000)
    zone(zones, 2, "cpu-1", -274000)
    assert heat.hottest() == 41


def test_it_waits_until_it_is_as_cool_as_before(zones):
    temp, time = zone(zones, 0, "soc", 40000), Time()
    cooling = heat.Cooling(60, time.clock, time.sleep)
    temp.write_text("70000")
    time.then = lambda: temp.write_text("70000" if time.now < 3 else "40900")
    assert cooling.wait() and cooling.waited_s == 3.0
    assert cooling.clock() == 0.0, "budgets do not count it"
    assert cooling.report() == {
        "start_celsius": 40, "highest_celsius": 70, "end_celsius": 40.9, "waited_seconds": 3.0, "cool": True,
    }  # fmt: skip


def test_all_waits_together_are_bounded(zones):
    temp, time = zone(zones, 0, "soc", 40000), Time()
    cooling = heat.Cooling(2, time.clock, time.sleep)
    temp.write_text("70000")
    assert cooling.wait() and cooling.waited_s == 2.0
    time.now += 10
    assert not cooling.wait() and not cooling.report()["cool"]


def test_without_a_sensor_nothing_waits_and_nothing_is_claimed(zones):
    cooling = heat.Cooling(60)
    assert not cooling.wait() and cooling.report() is None


def test_a_run_after_a_pause_does_not_count():
    runs = iter(range(100))
    pauses = iter([False, True, False])
    assert repeat(lambda: float(next(runs)), 0, least=3, pause=lambda: next(pauses)).samples == (0.0, 2.0, 3.0)
