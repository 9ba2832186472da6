"""Passes do what they are for: on planted outliers, errors fall in the order that the papers publish."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import planted_outliers as planted


@pytest.fixture(scope="module")
def found() -> dict[str, list[float]]:
    """Method -> errors at w8a8, w6a6, w4a4."""
    torch.set_num_threads(1)
    model = planted.model()
    return {name: planted.errors(model, pipeline) for name, pipeline in planted.METHODS.items()}


def test_planting_changes_no_output_but_what_linears_read():
    models = [planted.model(planted=flag) for flag in (False, True)]
    sample = planted.text_sample(planted.texts(0, 1)[0])
    clean, dirty = (planted.logits(model.graph(), model, sample) for model in models)
    torch.testing.assert_close(dirty, clean, rtol=0, atol=1e-4 * float(clean.abs().max()))
    reach = [max(planted.ranges(model.graph(), model, [sample]).values()) for model in models]
    assert reach[1] > 10 * reach[0]


@pytest.mark.parametrize("width", range(len(planted.WIDTHS)))
def test_errors_fall_from_min_max_over_smooth_to_osplus(found, width):
    minmax, smooth, osplus = (found[name][width] for name in ("min-max", "smooth", "osplus"))
    assert minmax > 2 * smooth
    assert smooth > 1.3 * osplus


@pytest.mark.parametrize("width", range(len(planted.WIDTHS)))
def test_gamma_migration_and_rotations_help_too(found, width):
    """Gamma alone leaves what beta makes, so smooth does better; a rotation takes beta into the linears' biases."""
    assert found["min-max"][width] > 1.5 * found["gamma-migration"][width] > found["smooth"][width]
    assert found["smooth"][width] > found["rotate"][width]
