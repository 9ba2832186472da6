from __future__ import annotations

import pytest
import torch
from float64 import NAMES, float64_equal
from test_objective import Captured, Weights, points, sample

from edgeq.errors import UsageError
from edgeq.ir.text import parse, show
from edgeq.ir.verify import verify
from edgeq.passes.awq import awq_scale, column_means, every_token
from edgeq.passes.folds.objective import Objective
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make
from edgeq.quant.simulate import QuantSpec


@pytest.fixture
def model(llama):
    gm = parse(llama)
    weights = Weights(gm)
    samples = [sample(), sample(7, 2)]
    captured = Captured(gm, weights, every_token(gm, samples))
    return gm, Context(weights, samples=lambda gm: samples), captured


def test_the_first_token_counts(model):
    gm, context, captured = model
    assert all(s.counted.all() for s in captured.samples)
    assert not context.samples(gm)[0].counted[0]


def test_scales_by_hand():
    mean = torch.tensor([1.0, 4.0, 16.0, 0.0])
    assert torch.equal(awq_scale(mean[:3], 0.5), torch.tensor([0.5, 1.0, 2.0]))
    assert torch.equal(awq_scale(mean[:3], 0.0), torch.ones(3))
    never = awq_scale(mean, 0.5)
    assert (never.max() * never.min()).item() == pytest.approx(1) and (never > 0).all()
    duo = awq_scale(mean[:3], 0.0, torch.tensor([0.25, 0.5, 1.0]))
    assert duo.tolist() == pytest.approx([2.0, 1.0, 0.5], rel=1e-3)


def test_columns_are_relative_to_their_group(model):
    gm, context, _ = model
    point = points(gm, "gated")[0]
    w = context.weights.tensors["model.layers.0.mlp.down_proj.weight"]
    w[:, :32] *= 1000
    means = column_means(point, context.weights, dict.fromkeys(point.consumers, 32))
    assert means[:32].mean().item() == pytest.approx(means[32:].mean().item(), rel=0.1)


def test_before_and_after(model, lines):
    gm, context, _ = model
    report = make("awq", "bits=w4a16g64")(gm, context)
    verify(gm, types=True)
    text = show(gm)
    assert show(parse(text)) == text
    assert [site.module for site in report.changed] == [
        "model.layers.0.input_layernorm", "model.layers.0.self_attn",
        "model.layers.0.post_attention_layernorm", "model.layers.0.mlp",
    ]  # fmt: skip
    assert lines(text, "%rms_norm = ") == [
        "%rms_norm = edgeq.rms_norm(%embedding, %div, eps=1e-06) : f32[1, s, 64] @ model.layers.0.input_layernorm"
    ]
    assert len(lines(text, "weight fold_")) >= 4
    for site in report.changed:
        before, after = (float(x) for x in site.what.split("error ")[1].split(",")[0].split(" -> "))
        assert after <= before and ", alpha 0" in site.what


def test_the_scale_found_is_better_than_none_and_than_its_neighbours(model):
    gm, context, captured = model
    quant = QuantSpec(4, 64)
    point = points(gm, "norm")[0]
    objective = Objective(point, captured, context.weights, quant)
    mean = torch.cat(captured.rows(point.activation)).abs().mean(0)
    errors = [objective.error(awq_scale(mean, i / 20)) for i in range(20)]
    make("awq", "bits=w4a16g64,all=true")(gm, context)
    [(_, decision)] = [(k, d) for k, d in _kept(context).items() if k[1] == point.key]
    assert decision["errors"][1].item() == pytest.approx(min(errors), rel=1e-4)
    assert round(decision["alpha"].item() * 20) == errors.index(min(errors)) > 0


def _kept(context):
    return context.decisions._kept


def test_the_short_search_is_as_good_here(llama, model):
    gm, context, _ = model
    make("awq", "bits=w4a16g64,all=true")(gm, context)
    other = parse(llama)
    short = Context(context.weights, samples=context.samples)
    make("awq", "bits=w4a16g64")(other, short)
    for (_, key), decision in _kept(short).items():
        whole = next(d for k, d in _kept(context).items() if k[1] == key)
        assert decision["errors"][1] <= 1.05 * whole["errors"][1]


def test_heads_that_share_values_share_scales(model):
    gm, context, _ = model
    point = points(gm, "value")[0]
    make("awq", "bits=w4a16g64,all=true")(gm, context)
    scale = next(d for k, d in _kept(context).items() if k[1] == point.key).get("scale", torch.ones(32))
    assert point.repeat == 2 and scale.shape == (32,)


def test_nothing_to_gain_leaves_the_graph_alone(model):
    gm, context, _ = model
    before = [str(node.target) for node in gm.graph.nodes if node.op == "call_function"]
    report = make("awq", "bits=fp32")(gm, context)
    assert [str(node.target) for node in gm.graph.nodes if node.op == "call_function"] == before
    assert all("unchanged" in site.what for site in report.changed)


def test_what_cannot_be_done_is_said(llama):
    with pytest.raises(UsageError, match="needs a model's weights"):
        make("awq")(parse(llama))
    gm = parse(llama)
    with pytest.raises(UsageError, match="no samples"):
        make("awq")(gm, Context(Weights(gm)))
    with pytest.raises(UsageError, match="must lie between 0 and 1"):
        make("awq", "step=0")


@pytest.mark.parametrize("name", NAMES)
def test_equal_in_float64(name):
    reports = float64_equal(name, "awq{bits=w4a16,step=0.5,tokens=16}")
    assert sum(len(report.changed) for report in reports) > 0


def test_composed_in_float64():
    float64_equal("qwen2", "pre-sinq,awq{bits=w4a8,act=true,duo=true,step=0.5},smooth")
