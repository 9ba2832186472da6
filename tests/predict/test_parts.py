"""The arithmetic of predictions: layouts, quiet times, kept times, costs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.predict.blank_library import shared_layout
from edgeq.predict.costs import TABLE, Work, cost_of
from edgeq.predict.timings import Timings
from edgeq.predict.undisturbed import spread, undisturbed

SIZES = st.lists(st.integers(1, 5000), min_size=1, max_size=30)


@given(SIZES, st.integers(64, 20000))
def test_every_tensor_lies_in_the_file_on_a_line(sizes, window):
    named = {str(i): size for i, size in enumerate(sizes)}
    info = shared_layout(named, window)
    assert all(info.offsets[n] % 64 == 0 and info.offsets[n] + s <= info.tensor_bytes for n, s in named.items())
    assert info.tensor_bytes <= max(window, *sizes) + 63


@given(SIZES)
def test_what_fits_is_laid_out_as_in_the_artifact(sizes):
    from edgeq.artifact.weights_file import TensorSpec, WeightsLayout

    named = {str(i): size for i, size in enumerate(sizes)}
    exact = WeightsLayout([TensorSpec(n, "U8", (s,)) for n, s in named.items()])
    info = shared_layout(named, 1 << 30)
    assert info.offsets == {n: exact.offsets[n] for n in named}


def test_hiccups_do_not_count():
    rng = np.random.default_rng(0)
    quiet = np.full((100, 25), 1e-5) * rng.uniform(1, 1.01, (100, 25))
    disturbed = quiet + (rng.random(quiet.shape) < 0.7) * rng.exponential(1e-3, quiet.shape)
    assert undisturbed(disturbed).sum() == pytest.approx(25e-5, rel=0.02)
    assert disturbed.mean(0).sum() > 2 * 25e-5
    assert spread(quiet) < 0.01


def test_timings_survive_and_damage_is_measured_again(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path))
    kept = Timings(2)
    kept.put({"a": [1.0, 0.1]})
    assert Timings(2).get("a") == [1.0, 0.1]
    assert Timings(1).get("a") is None, "another number of threads is another machine"
    again = Timings(2, again=True)
    assert again.get("a") is None
    again.put({"a": [2.0, 0.1]})
    assert again.get("a") == Timings(2).get("a") == [2.0, 0.1]
    kept.path.write_text("{damaged")
    assert Timings(2).get("a") is None


def test_costs_are_amounts_times_constants():
    table = json.loads(TABLE.read_text())
    none = Work({}, {}, 0, 0, 0, 0)
    some = Work({"w8": 10**8}, {"nobody-timed-this": 1e9}, 10**6, 10**8, 10**7, 10**7)
    empty, full = cost_of(none, table, 3.0), cost_of(some, table, 3.0)
    assert empty.stages["start and export"] == full.stages["start and export"] == table["seconds"]["start"] + 3.0
    assert full.stages["quantize and pack"] == pytest.approx(table["seconds"]["pack"]["w8"] * 10**8)
    assert full.unknown == ("nobody-timed-this",) and empty.warm and not full.warm
    assert full.peak_bytes > empty.peak_bytes == round(table["memory"]["base"])
