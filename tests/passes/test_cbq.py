"""The passes that learn rounding: `cbq`, `qdrop`, `fine-clipping`."""

from __future__ import annotations

import pytest
import torch
from test_objective import Weights, sample

from edgeq.calibrate.journal import Decisions
from edgeq.errors import UsageError
from edgeq.ir.graph import calls
from edgeq.ir.text import parse
from edgeq.ir.values import weight_value
from edgeq.ir.verify import verify
from edgeq.passes.grids import grid_format
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make, parse_pipeline, run_pipeline
from edgeq.quant.simulate import fake_weight

ROUNDED = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@pytest.fixture
def model(llama):
    gm = parse(llama)
    return gm, Weights(gm)


def context(weights, **given):
    samples = [sample(40), sample(33, 2), sample(29, 3), sample(31, 4), sample(24, 5)]
    return Context(weights, samples=lambda gm: samples, **given)


def run(model, pipeline, **given):
    gm, weights = model
    found = context(weights, **given)
    run_pipeline(gm, parse_pipeline(pipeline), found)
    verify(gm)
    return found


def values(gm, weights):
    return {n.meta["hf"].rpartition(".")[2]: weight_value(n.args[1], weights) for n in calls(gm, "aten.linear")}


def test_without_epochs_it_is_round_to_nearest(model):
    gm, weights = model
    before = values(gm, weights)
    run(model, "cbq{bits=w3a16g32,epochs=0,range=minmax}")
    after = values(gm, weights)
    for name in ROUNDED:
        assert torch.equal(after[name], fake_weight(before[name], 3, 32)), name


def test_tuning_lowers_the_error_of_the_outputs(model):
    found = run(model, "cbq{bits=w3a16g32,epochs=1,tune=4,tune_lr=0.01}")
    before, after = found.decisions.get(found.step, "end to end")["errors"].tolist()
    assert after < before
