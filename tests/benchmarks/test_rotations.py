"""The simulated table of rotations: exact where nothing is rounded, another number where something is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from edgeq.frontend.source import open_model

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from rotations import BITS, PIPELINES, perplexities


def test_only_rounding_tells_rotated_models_apart(tiny_model: Path):
    windows = [torch.arange(24) * 37 % 200, torch.arange(24) * 11 % 200]
    plain, rotated = (perplexities(open_model(str(tiny_model)), PIPELINES[n], windows) for n in ("none", "R1 R2 R4"))
    assert set(plain) == set(BITS)
    assert rotated[16, 16] == pytest.approx(plain[16, 16], rel=1e-4)
    assert all(abs(rotated[bits] / plain[bits] - 1) > 1e-4 for bits in ((16, 4), (4, 16), (4, 4)))
