from __future__ import annotations

import copy

import pytest
import torch
from float64 import build, float64_equal, run_passes
from test_objective import Weights, sample

from edgeq.calibrate.samples import Sample
from edgeq.errors import UsageError
from edgeq.frontend.expression import evaluate
from edgeq.ir.graph import arguments, calls
from edgeq.ir.text import parse, show
from edgeq.ir.values import weight_value
from edgeq.ir.verify import verify
from edgeq.passes.clip_weights import makes_scores
from edgeq.passes.clips.clip_search import find_limits, gram
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize
from edgeq.quant.simulate import QuantSpec, fake_weight

RATIOS = tuple(1 - i / 20 for i in range(10))
W4 = QuantSpec(4, 32)


@pytest.fixture
def data():
    """Weights with outliers on channels that are hardly used, and tokens."""
    generator = torch.Generator().manual_seed(2)
    weight, rows = torch.randn(48, 96, generator=generator), torch.randn(200, 96, generator=generator)
    weight[:, ::32] *= 4
    rows[:, ::32] *= 0.01
    return weight, rows


def clipped(weight, limits, size):
    wide = [limit.repeat_interleave(size, 1)[:, : weight.shape[1]] for limit in (limits.low, limits.high)]
    return torch.minimum(torch.maximum(weight, wide[0]), wide[1])


@pytest.mark.parametrize("quant", [W4, QuantSpec(4, 64), QuantSpec(4, 32, False), QuantSpec(3, 32), QuantSpec(8)])
def test_the_error_is_that_of_packed_weights(data, quant):
    """Group by group on its own columns, with the codes and fp16 scales that packing makes of clipped weights."""
    weight, rows = data
    size = quant.group_size or 96
    products = gram(rows, size)
    limits = find_limits(weight, products, quant, RATIOS)

    def squared(w):
        wide = torch.nn.functional.pad(w, (0, -96 % size))
        return sum(((d @ g) * d).sum() for d, g in zip(wide.split(size, 1), products, strict=True))

    for before, w in ((limits.before, weight), (limits.after, clipped(weight, limits, size))):
        expected = squared(_packed(w, quant) - weight) / squared(weight)
        assert before == pytest.approx(float(expected), rel=1e-3)
    assert limits.after < (1 if quant.weight_bits == 8 else 0.9) * limits.before


def test_one_huge_token_is_half_of_what_counts():
    rows = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
    rows[5] = torch.eye(32)[3] * 1e6
    products = gram(rows, 32)[0]
    assert products.trace().item() == pytest.approx(1)
    assert products[3, 3].item() == pytest.approx(0.5 + 0.5 * (1 / 64 + 63 / 64 / 32), rel=0.05)
    assert torch.equal(gram(torch.zeros(4, 40), 32), torch.zeros(2, 32, 32))


def _packed(weight, quant):
    if quant.weight_bits == 3:
        return quant.weight(weight)
    fmt = WeightFormat(quant.weight_bits, quant.group_size, quant.symmetric)
    return torch.from_numpy(dequantize(*quantize(weight, fmt), fmt))


def test_rows_are_searched_each_for_itself(data, monkeypatch):
    weight, rows = data
    whole = find_limits(weight, gram(rows, 32), W4, RATIOS)
    monkeypatch.setattr("edgeq.passes.clips.clip_search.CHUNK", 300)
    parts = find_limits(weight, gram(rows, 32), W4, RATIOS)
    assert torch.equal(whole.low, parts.low) and torch.equal(whole.high, parts.high)


def test_without_a_narrower_range_nothing_is_clipped(data):
    """... but for a group whose other side may well have the longer half of the codes."""
    weight, rows = data
    for quant in (QuantSpec(4, 32, False), QuantSpec(8)):
        limits = find_limits(weight, gram(rows, quant.group_size or 96), quant, (1.0,))
        assert limits.low.isinf().all() and limits.high.isinf().all() and limits.before == limits.after


@pytest.fixture
def model(llama):
    gm = parse(llama)
    weights = Weights(gm)
    return gm, weights, [sample(), sample(7, 2)]


def clip(model, options="bits=w4a16"):
    gm, weights, samples = model
    return make("clip-weights", options)(gm, Context(weights, samples=lambda gm: samples))


def test_before_and_after(model, lines):
    gm, weights, _ = model
    before = {n.name: weight_value(n.args[1], weights) for n in calls(gm, "aten.linear")}
    report = clip(model)
    verify(gm, types=True)
    text = show(gm)
    assert show(parse(text)) == text
    o = lines(text, "%o = ", "self_attn.o_proj.weight")
    assert o[0] == "%o_w = weight model.layers.0.self_attn.o_proj.weight : f32[64, 64]"
    assert lines(text, "aten.maximum(%o_w") and "minimum" in o[1]
    assert [site.module.rpartition(".")[2] for site in report.changed] == [
        "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    ]  # fmt: skip
    assert [(site.module.rpartition(".")[2], site.what) for site in report.declined] == [
        ("q_proj", "attention scores are made of it"), ("k_proj", "attention scores are made of it"),
        ("lm_head", "its weight is also the token embedding"),
    ]  # fmt: skip
    for node in calls(gm, "aten.linear"):
        now = weight_value(node.args[1], weights)
        assert ((now == before[node.name]) | (now.abs() < before[node.name].abs())).all()
        assert torch.equal(evaluate(node.args[1], weights, slice(3, 9)), now[3:9])


@pytest.mark.parametrize("bits", ["w4a16", "w4a16g128a", "w4a16pc"])
def test_quantized_outputs_come_closer(model, bits):
    """Summed over the clipped linears; groups are judged one by one, so a single linear may lose."""
    gm, weights, _ = model
    x = {n.name: torch.randn(300, int(n.args[1].meta["val"].shape[1])) for n in calls(gm, "aten.linear")}
    group = {"w4a16": 32, "w4a16g128a": 128, "w4a16pc": 0}[bits]
    was = {n.name: weight_value(n.args[1], weights) for n in calls(gm, "aten.linear")}

    def error():
        total = 0.0
        for n in calls(gm, "aten.linear"):
            w, own = fake_weight(weight_value(n.args[1], weights), 4, group, "a" not in bits[5:]), was[n.name]
            total += float((x[n.name] @ (w - own).T).square().sum() / (x[n.name] @ own.T).square().sum())
        return total

    before = error()
    clip(model, f"bits={bits},method=mse")
    assert error() < before


def test_the_first_token_counts(model):
    """It is an attention sink in many language models: what makes it must not be clipped away."""
    gm, weights, samples = model
    counted = [Sample(s.inputs, torch.ones_like(s.counted)) for s in samples]
    other = copy.deepcopy(gm)
    clip(model)
    clip((other, weights, counted))
    assert show(gm) == show(other)
    limits, same = ({n: t for n, t in g.named_buffers() if n.startswith("clip")} for g in (gm, other))
    assert len(limits) > 10 and all(torch.equal(limits[name], same[name]) for name in limits)


def test_weights_alone_need_no_samples(model):
    gm, weights, _ = model
    report = make("clip-weights", "bits=w4a16,method=mse,scores=true")(gm, Context(weights))
    assert len(report.changed) == 7


def test_another_entry_takes_the_same_limits(model, llama):
    gm, weights, samples = model
    context = Context(weights, samples=lambda gm: samples)
    make("clip-weights", "bits=w4a16")(gm, context)
    other = parse(llama)
    make("clip-weights", "bits=w4a16")(other, Context(weights, decisions=context.decisions))
    assert show(other) == show(gm)


def test_scores_are_found_behind_rotation(llama):
    gm = parse(llama)
    assert [n.name for n in calls(gm, "aten.linear") if makes_scores(n)] == ["q", "k"]


def test_what_cannot_be_done_is_said(model):
    gm, weights, _ = model
    with pytest.raises(UsageError, match="needs a model"):
        make("clip-weights")(gm)
    with pytest.raises(UsageError, match="no samples"):
        make("clip-weights", "bits=w4a16")(gm, Context(weights))
    with pytest.raises(UsageError, match="nothing to clip"):
        make("clip-weights", "bits=fp16")(gm, Context(weights))
    with pytest.raises(UsageError, match="method=max is not known; known: output, mse"):
        make("clip-weights", "method=max")
    with pytest.raises(UsageError, match="between 0 and 1"):
        make("clip-weights", "steps=30")


@pytest.mark.parametrize("name", ["llama", "gpt2", "bert", "bart"])
def test_a_ratio_of_one_is_exact_in_float64(name):
    float64_equal(name, "clip-weights{bits=w8a8,steps=1}")


@pytest.mark.parametrize("name", ["sam", "detr"])
def test_static_models_are_clipped(name):
    model = build(name)
    reports = run_passes(model, "clip-weights{bits=w4a16}")
    assert sum("0% of" not in site.what for report in reports for site in report.changed) > 3
    for gm in model.graphs.values():
        verify(gm, types=True)
        assert all(arguments(n)["weight"].meta["val"].dim() == 2 for n in calls(gm, "aten.linear"))
