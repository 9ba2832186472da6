"""The pass `fine-clipping`: scales move to where outputs are best, and nothing else does."""

from __future__ import annotations

import pytest
import torch
from test_cbq import context, run
from test_objective import Weights

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls
from edgeq.ir.text import parse, show
from edgeq.passes.pipeline import make, parse_pipeline, run_pipeline


@pytest.fixture
def model(llama):
    gm = parse(llama)
    return gm, Weights(gm)


def scales(gm):
    return [gm.get_buffer(str(arguments(node)["scale"].target)) for node in calls(gm, "edgeq.fake_quant")]


def test_planted_bad_scales_are_mended(model):
    """Ranges three times too wide at four bits: they shrink, and the held-out error falls by a good part."""
    gm, weights = model
    found = context(weights)
    run_pipeline(gm, parse_pipeline("static-ranges{spread=0,bits=4,method=minmax,head=false}"), found)
    for scale in scales(gm):
        scale *= 3
    planted = [float(scale) for scale in scales(gm)]
    report = make("fine-clipping", "bits=w8a4s,epochs=8,lr=0.1")(gm, found)
    assert len(report.changed) == 4 and not report.declined
    assert sum(float(now) < 0.9 * was for now, was in zip(scales(gm), planted, strict=True)) >= 2
    before, after = map(float, report.changed[0].what.partition("window ")[2].split(" -> "))
    assert after < 0.7 * before
    assert not calls(gm, "edgeq.grid")


def test_learned_scales_reach_the_quantized_graph(model):
    gm, _ = model
    found = run(model, "static-ranges{spread=0},fine-clipping{bits=w8a8s,epochs=1}")
    (head,) = [node.name for node in calls(gm, "edgeq.fake_quant") if "lm_head" in node.meta["hf"]]
    learned = {float(scale) for scale in scales(gm)}
    assert len(found.reports[-1].changed) == 4 and head  # the head's stays where it was measured
    make("quantize", "bits=w8a8s")(gm, found)
    stored = [gm.get_buffer(str(arguments(n)["x_scale"].target)) for n in calls(gm, "edgeq.qlinear")]
    assert {float(scale) for scale in stored} == learned and len(stored) == 8
    assert not calls(gm, "edgeq.fake_quant")


def test_another_entry_takes_the_same_scales(model, llama):
    gm, _ = model
    pipeline = "static-ranges{spread=0},fine-clipping{bits=w8a8s,epochs=1}"
    found = run(model, pipeline)
    found.samples = lambda _: []
    other = parse(llama)
    run_pipeline(other, parse_pipeline(pipeline), found)
    assert show(other) == show(gm)
    assert all(torch.equal(a, b) for a, b in zip(scales(gm), scales(other), strict=True))


def test_without_ranges_there_is_nothing_to_move(model):
    with pytest.raises(UsageError, match="put static-ranges before it"):
        run(model, "fine-clipping{bits=w8a8s}")
    with pytest.raises(UsageError, match="0 <= overlap < window"):
        make("fine-clipping", "window=1,overlap=1")
