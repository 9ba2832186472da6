"""passes.json: what it keeps of reports, and how it refuses what is not one."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeq.artifact.passes_file import MOST_BINS, Channels, binned, read_passes, write_passes
from edgeq.errors import ArtifactError
from edgeq.passes.pass_ import Range, Report, Site


def span(*values: float) -> Range:
    high = torch.tensor(values)
    return Range(-high, high)


def test_sites_come_back_with_their_ranges(tmp_path):
    changed = Site("layers.0.norm", "scaled by 0.5..2", span(1.0, 31.23456, 2.0), span(1.0, 2.0, 2.0))
    write_passes([Report("smooth{alpha=0.5}", (changed,), (Site("lm_head", "tied"),))], tmp_path)
    (record,) = read_passes(tmp_path)
    assert record.name == "smooth{alpha=0.5}"
    assert record.changed[0].what == "scaled by 0.5..2"
    assert record.changed[0].before == Channels(3, (-1.0, -31.23, -2.0), (1.0, 31.23, 2.0))
    assert record.changed[0].before.range == (-31.23, 31.23)
    assert (record.declined[0].module, record.declined[0].before) == ("lm_head", None)


def test_reports_of_entries_that_share_weights_are_kept_once_with_their_ranges(tmp_path):
    measured = Report("smooth", (Site("a", "x", span(2.0), span(1.0)),))
    write_passes([measured, Report("smooth", (Site("a", "x"),)), Report("smooth", (Site("b", "x"),))], tmp_path)
    first, other = read_passes(tmp_path)
    assert first.changed[0].before is not None
    assert other.changed[0].module == "b"


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=400))
def test_bins_keep_the_extremes(values):
    low, high = binned(values, min), binned(values, max)
    assert len(low) == len(high) == min(len(values), MOST_BINS)
    assert min(low) == float(f"{min(values):.4g}")
    assert max(high) == float(f"{max(values):.4g}")
    assert all(a <= b for a, b in zip(low, high, strict=True))


def test_what_is_not_finite_is_unknown(tmp_path):
    write_passes([Report("p", (Site("a", "x", span(float("inf"), 1.0), span(float("nan"), 1.0)),))], tmp_path)
    (record,) = read_passes(tmp_path)
    assert record.changed[0].before.high == (None, 1.0)
    assert record.changed[0].before.range == (-1.0, 1.0)
    assert record.changed[0].after.magnitudes == [0.0, 1.0]


def test_the_file_is_small(tmp_path):
    wide = Range(-torch.rand(4096) * 30, torch.rand(4096) * 30)
    write_passes([Report("p", tuple(Site(f"layers.{i}", "x", wide, wide) for i in range(50)))], tmp_path)
    assert (tmp_path / "passes.json").stat().st_size < 50 * 4 * MOST_BINS * 8


def test_an_artifact_without_the_file_says_what_to_do(tmp_path):
    with pytest.raises(ArtifactError, match=r"no passes\.json.*compile it again"):
        read_passes(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"passes": [{"name": "x"}]}', '{"passes": [1]}'])
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / "passes.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"passes\.json: cannot be read"):
        read_passes(tmp_path)


def test_the_json_has_no_spaces(tmp_path):
    write_passes([Report("p", (Site("a", "x", span(1.0), span(1.0)),))], tmp_path)
    text = (tmp_path / "passes.json").read_text()
    assert json.loads(text)["schema"] == 1
    assert ": " not in text
