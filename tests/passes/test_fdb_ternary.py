"""The passes `fdb` and `ternary`: their own formats whatever the model's bits."""

from __future__ import annotations

import pytest
import torch
from test_gptq import context
from test_objective import Weights

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls
from edgeq.ir.text import parse
from edgeq.ir.verify import verify
from edgeq.passes.fdb import two_planes
from edgeq.passes.pipeline import make, run_pipeline


@pytest.fixture
def model(llama):
    gm = parse(llama)
    return gm, Weights(gm)


def test_every_round_of_two_planes_is_nearer():
    w = torch.randn(20, 144, generator=torch.Generator().manual_seed(0))  # a shorter last group
    errors = [two_planes(w, 64, rounds, "w")[1][1] for rounds in (0, 1, 3, 10)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.95 * errors[0]
    found, (before, after) = two_planes(w, 64, 10, "w")
    assert before == pytest.approx(errors[0], rel=1e-3) and after == errors[-1]
    assert found.codes.shape == (20, 144) and found.scale.shape == (20, 6)


@pytest.mark.parametrize("options, fmt", [("", "p2g64"), ("group=32,rounds=2", "p2g32")])
def test_fdb_needs_no_samples(model, options, fmt):
    gm, weights = model
    report = make("fdb", options)(gm, context(gm, weights, samples=[]))
    verify(gm, types=True)
    assert {arguments(n)["weight"] for n in calls(gm, "edgeq.grid")} == {fmt}
    assert len(report.changed) == 7 and all("of the weight's" in site.what for site in report.changed)


def test_ternary_is_gptq_to_three_levels(model):
    gm, weights = model
    (report,) = run_pipeline(gm, [make("ternary", "bits=t2a8g64")], context(gm, weights))
    assert {arguments(n)["weight"] for n in calls(gm, "edgeq.grid")} == {"t2g64"}
    for changed in report.changed:
        before, after = changed.what.split("error ")[1].split(",")[0].split(" -> ")
        assert float(after) < float(before)


def test_other_formats_are_refused():
    with pytest.raises(UsageError, match="three levels"):
        make("ternary", "bits=w4a8")
    with pytest.raises(UsageError, match="group is one of"):
        make("fdb", "group=48")
