"""Times of single linears: measured once here, modelled elsewhere."""

from __future__ import annotations

import pytest

from edgeq.errors import UsageError
from edgeq.modelled.estimate import BANDWIDTH
from edgeq.predict import kernel_times
from edgeq.predict.kernel_plan import Linear, kernel_plan
from edgeq.predict.kernel_times import kernel_seconds
from edgeq.targets import names, runs_here

OTHER = next(name for name in names() if name != "native" and not runs_here(name))


def test_linears_are_measured_once(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path))
    monkeypatch.setattr(kernel_times, "BUDGET_S", 0.01)
    linears = [Linear(64, 96, "w4g32"), Linear(64, 96, "w8", rows=16), Linear(48, 64, "f16", "a16")]
    first = kernel_seconds(linears)
    assert all(0 < one.seconds < 0.1 and one.source == "measured" for one in first)
    monkeypatch.setattr(kernel_times, "_measure", None)
    assert kernel_seconds([linears[1], Linear(64, 96, "w4g32", "a8s")]) == [first[1], first[0]]
    with pytest.raises(TypeError):
        kernel_seconds(linears, again=True)


def test_an_unknown_format_is_refused():
    with pytest.raises(UsageError, match="w5"):
        kernel_seconds([Linear(64, 64, "w5")])


def test_weights_are_walked_over_before_they_repeat():
    plan, sizes = kernel_plan([Linear(256, 256, "w8"), Linear(256, 256, "w8", rows=64)], 1 << 20)
    row, chunk = (len(entry.regions) for entry in plan.entries)
    assert row * Linear(256, 256, "w8").weight_bytes >= 1 << 20
    assert len(sizes) == row + chunk


def test_a_row_elsewhere_waits_for_memory_and_a_chunk_for_the_core():
    row, chunk = kernel_seconds([Linear(2048, 2048, "w8", rows=n) for n in (1, 256)], OTHER)
    assert row.source == chunk.source == "modelled"
    assert row.seconds == pytest.approx(Linear(2048, 2048, "w8").weight_bytes / BANDWIDTH)
    assert 256 * row.seconds > chunk.seconds > row.seconds


def test_groups_that_nobody_counted_are_like_others_of_their_width():
    counted, other = kernel_seconds([Linear(512, 512, f, rows=64) for f in ("w4g32", "w4g256")], OTHER)
    assert other.seconds == pytest.approx(counted.seconds, rel=0.5)
