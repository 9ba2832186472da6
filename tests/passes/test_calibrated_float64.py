"""SmoothQuant, OS+ and CFP of activations are equivalences: ten architectures in float64, entries share decisions."""

from __future__ import annotations

import pytest
from float64 import NAMES, float64_equal

PIPELINE = "osplus{bits=w6a6spc,steps=4},smooth{powers=false,alpha=0.6},cfp"


@pytest.mark.parametrize("name", NAMES)
def test_they_leave_the_model_as_it_is(name):
    reports = float64_equal(name, PIPELINE)
    assert all(
        any(report.changed for report in reports if report.name.startswith(step)) for step in ("osplus", "smooth")
    )


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_shifts_after_rms_norms(name):
    reports = float64_equal(name, "osplus{bits=w6a6spc,steps=4,rms_shift=true,kinds=norm}")
    assert any("shifts" in site.what for site in reports[0].changed)


def test_padded_windows_are_scaled_but_not_shifted():
    reports = float64_equal("sam", "osplus{bits=w6a6spc,steps=4,kinds=norm}")
    changed = [site.what for report in reports for site in report.changed]
    assert any("zeros are padded in" in what for what in changed)
    assert any("shifts" in what for what in changed)
