"""Passes in seeded orders on every architecture: whatever stands before it, each stays an equivalence."""

from __future__ import annotations

import random

import pytest
from float64 import NAMES, float64_equal

EXACT = (
    "gamma-migration", "smooth{powers=false}", "osplus{steps=4,rms_shift=true}", "awq{step=0.25}", "pre-sinq{rounds=1}",
    "fold-signs{force=true}", "cfp{weights=false}", "rotate{r4=true}",
)  # fmt: skip


def orders(name: str) -> list[str]:
    """Two seeded permutations of half of the passes and one more: together they hold all."""
    drawn = random.Random(name).sample(EXACT, len(EXACT))
    half = len(drawn) // 2
    return [",".join(drawn[: half + 1]), ",".join(drawn[half:])]


@pytest.mark.parametrize("pipeline", range(2))
@pytest.mark.parametrize("name", NAMES)
def test_passes_compose_in_any_order(name, pipeline):
    reports = float64_equal(name, orders(name)[pipeline])
    assert sum(bool(report.changed) for report in reports) > 2
