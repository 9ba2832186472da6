"""The pass `cbq`: what it learns, in which order, and what reaches the quantized graph."""

from __future__ import annotations

import pytest
import torch
from float64 import build, run_passes
from layered import layered
from test_objective import Weights, sample

from edgeq.calibrate.blocks import blocks
from edgeq.calibrate.journal import Journal
from edgeq.calibrate.layers import layers
from edgeq.errors import ModelError, UnsupportedError, UsageError
from edgeq.ir.graph import arguments, calls, op
from edgeq.ir.text import parse, show
from edgeq.ir.values import call, weight_value
from edgeq.ir.verify import verify
from edgeq.passes.grids import grid_format
from edgeq.passes.learned.error import window_error
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make, parse_pipeline, run_pipeline
from edgeq.quant.ranges import RANGES
from edgeq.quant.simulate import QuantSpec, fake_tokens, fake_weight
from edgeq.quant.stored_scale import stored_scale

ROUNDED = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LENGTHS = (40, 33, 29, 31, 24)
RATES = 0.05, 0.005


@pytest.fixture
def model(llama):
    gm = parse(llama)
    return gm, Weights(gm)


def context(weights, **given):
    samples = [sample(length, seed) for seed, length in enumerate(LENGTHS, 1)]
    return Context(weights, **{"samples": lambda gm: samples, **given})


def run(model, pipeline, **given):
    gm, weights = model
    found = context(weights, **given)
    run_pipeline(gm, parse_pipeline(pipeline), found)
    verify(gm, types=True)
    return found


def values(gm, weights):
    return {n.meta["hf"].rpartition(".")[2]: weight_value(n.args[1], weights) for n in calls(gm, "aten.linear")}


def tables(gm):
    """What was stored: name -> tensor."""
    return {name: held for name, held in gm.named_buffers() if held.device.type != "meta"}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(held, other[name]) for name, held in one.items())


@pytest.fixture
def deep():
    gm = layered(2)
    verify(gm, types=True)
    assert len(layers(blocks(gm))) == 2
    return gm, Weights(gm)


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


def test_before_and_after(model):
    gm, _ = model
    found = run(model, "cbq{bits=w4a8g32,epochs=1}")
    text = show(gm)
    assert show(parse(text)) == text
    (report,) = found.reports
    assert [site.module.rpartition(".")[2] for site in report.changed] == ROUNDED
    assert all(site.what.startswith("w4g32, error of its window ") for site in report.changed)
    assert [(site.module, site.what) for site in report.declined] == [
        ("lm_head", "its weight is also the token embedding")
    ]  # fmt: skip
    assert [grid_format(node.args[1]) for node in calls(gm, "aten.linear")] == ["w4g32"] * 7 + [None]


@pytest.mark.parametrize("options", ["kl=1", "rank=5", "hard=false,epochs=8", "window=0,overlap=0,kl=0"])
def test_the_held_out_error_falls(deep, options):
    """And it is that of the model: of unseen tokens, everything quantized, against round-to-nearest."""
    gm, weights = deep
    unseen = sample(50, 99)
    goal = logits(gm, weights, unseen)
    found = run(deep, "cbq{bits=w2a8g32,range=minmax,lr=0.05," + options + "}")
    for site in found.reports[0].changed:
        before, after = map(float, site.what.partition("window ")[2].split(" -> "))
        assert after < before
    nearest = layered(2)
    make("cbq", "bits=w2a8g32,range=minmax,epochs=0")(nearest, context(weights))
    learned, plain = (float((logits(g, weights, unseen, 8) - goal).square().mean()) for g in (gm, nearest))
    assert learned < 0.9 * plain


def logits(gm, weights, given, act_bits=0):
    """Of the graph as it is; act_bits: what linears on grids read."""
    known = {}
    for node in gm.graph.nodes:
        if node.op == "placeholder":
            known[node] = given.inputs[str(node.target)]
        elif node.op == "get_attr":
            known[node] = weight_value(node, weights)
        elif node.op == "output":
            (out,) = node.all_input_nodes
            return known[out]
        elif act_bits and op(node) == "aten.linear" and grid_format(node.args[1]):
            known[node] = fake_tokens(known[node.args[0]], act_bits) @ known[node.args[1]].T
        else:
            known[node] = call(node, known.__getitem__)
    raise AssertionError


@pytest.mark.parametrize("act", ["a8"])
def test_a_window_of_one_layer_is_block_reconstruction(deep, act):
    """The loop written out: two streams, Adam with a cosine, codes straight through, a step a sample."""
    gm, weights = deep
    quant = QuantSpec(2, 32, act="token" if act == "a8" else "none")
    expected = reconstructed(layered(2), weights, quant, epochs=3)
    run(deep, f"cbq{{bits=w2{act}g32,window=1,overlap=0,kl=0,epochs=3,range=minmax,lr={RATES[0]},scale_lr={RATES[1]}}}")
    assert len(expected) == 14
    learned = 0
    for node in calls(gm, "aten.linear"):
        if node.name in expected:
            found, goal = weight_value(node.args[1], weights), expected[node.name]
            assert ((found - goal).abs() > 1e-3 * goal.abs().max()).float().mean() < 0.01, node.name
            learned += not torch.equal(found, fake_weight(weights.read(f"{node.meta['hf']}.weight"), 2, 32))
    assert learned >= 7


def reconstructed(gm, weights, quant, epochs):
    """Plain block reconstruction of each layer: linear's name -> its weight as stored."""
    given = [sample(length, seed) for seed, length in enumerate(LENGTHS, 1)]
    float_stream, stream = [{} for _ in given], [{} for _ in given]
    found = {}
    for index, layer in enumerate(layers(blocks(gm))):
        nodes = [n for block in layer for n in block.nodes if n.name not in ("rms_norm_2", "logits")]
        parts = {n.name: Part(weight_value(n.args[1], weights), quant) for n in nodes if op(n) == "aten.linear"}
        targets = [walk(nodes, weights, one, known) for one, known in zip(given, float_stream, strict=True)]
        last = nodes[-1]
        learn(nodes, parts, last, weights, given, stream, [t[last] for t in targets], quant, epochs, index)
        found |= {name: part.weight(hard=True).detach() for name, part in parts.items()}
        for i, one in enumerate(given):
            float_stream[i] = targets[i]
            with torch.no_grad():
                stream[i] = walk(nodes, weights, one, stream[i], found, quant)
    return found


class Part:
    def __init__(self, weight, quant):
        groups = weight.reshape(len(weight), -1, quant.group_size)
        self.scale = stored_scale(RANGES["minmax"](groups, quant.grid)[0], "").float()[..., None]
        self.steps, self.half = groups / self.scale, 2 ** (quant.weight_bits - 1)
        self.v = torch.zeros_like(self.steps, requires_grad=True)
        self.t = torch.zeros_like(self.scale, requires_grad=True)

    def weight(self, hard=False):
        soft = (self.steps + self.v).clamp(-self.half, self.half - 1)
        codes = soft + (soft.round() - soft).detach()
        scale = self.scale * (1 + self.t)
        return (codes * (scale.half().float() if hard else scale)).flatten(1)


def learn(nodes, parts, last, weights, given, stream, targets, quant, epochs, index):
    groups = [p.v for p in parts.values()], [p.t for p in parts.values()]
    optimizer = torch.optim.Adam([{"params": own, "lr": lr} for own, lr in zip(groups, RATES, strict=True)])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(given) - 1))
    draws = torch.Generator().manual_seed(index)
    whole = [torch.ones(one.counted.shape, dtype=torch.bool) for one in given]
    best = float("inf"), []
    for epoch in range(epochs + 1):
        for i in torch.randperm(len(given) - 1, generator=draws).tolist() if epoch else []:
            now = {name: part.weight() for name, part in parts.items()}
            out = walk(nodes, weights, given[i], stream[i], now, quant)[last]
            error = window_error({last: out}, {last: targets[i]}, whole[i])
            optimizer.zero_grad()
            error.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            now = {name: part.weight(hard=True) for name, part in parts.items()}
            out = walk(nodes, weights, given[-1], stream[-1], now, quant)[last]
        error = float(window_error({last: out}, {last: targets[-1]}, whole[-1]))
        if error < best[0]:
            best = error, [(p.v.detach().clone(), p.t.detach().clone()) for p in parts.values()]
    for part, (v, t) in zip(parts.values(), best[1], strict=True):
        part.v, part.t = v, t


def walk(nodes, weights, given, before, now=None, quant=None):
    """Values of nodes; now: weights of linears that read quantized activations."""
    known = dict(before)

    def find(node):
        if node.op == "placeholder":
            return given.inputs[str(node.target)]
        return weight_value(node, weights) if node.op == "get_attr" else known[node]

    for node in nodes:
        if now and node.name in now:
            x = find(node.args[0])
            known[node] = (x + (quant.activation(x) - x).detach()) @ now[node.name].T
        else:
            known[node] = call(node, find)
    return known


def test_a_layer_in_two_windows_goes_on_in_the_second(monkeypatch):
    """With what the first learned of it, on what the layer before it became."""
    from edgeq.passes.learned.sweep import Sweep

    seen = []
    plain = Sweep._window

    def spy(self, start, end, settled, states, report):
        found = plain(self, start, end, settled, states, report)
        seen.append((start, end, settled, states, found))
        return found

    monkeypatch.setattr(Sweep, "_window", spy)
    gm = layered(4)
    run((gm, Weights(gm)), "static-ranges{spread=0},cbq{bits=w3a8sg32,window=3,overlap=1,epochs=1}")
    assert [window[:3] for window in seen] == [(0, 3, 2), (2, 4, 4)]
    (_, _, _, nothing, first), (_, _, _, second, rest) = seen
    assert not nothing and not rest and second is first
    assert len(first) == 11 and all("layers.2" in key for key in first)  # seven weights, four ranges
    assert all(any(part.abs().max() > 0 for part in state.values()) for state in first.values())


def test_an_interrupted_compile_learns_the_same(tmp_path):
    """Bit for bit, layers that two windows share and LoRA's first factors included."""
    weights = Weights(layered(3))
    pipeline = "static-ranges{spread=0},cbq{bits=w3a8sg32,epochs=1,window=2,overlap=1,rank=4,drop=0.5}"
    whole = layered(3)
    run((whole, weights), pipeline)

    def stop(stage, done, total):
        if stage == "cbq" and done * 3 > total:
            raise Interrupted

    (tmp_path / "journal").mkdir()
    again = layered(3)
    with pytest.raises(Interrupted):
        run((again, weights), pipeline, decisions=Journal(tmp_path / "journal", {}), progress=stop)
    stages, again = [], layered(3)
    found = run((again, weights), pipeline, decisions=Journal(tmp_path / "journal", {}),
                progress=lambda *stage: stages.append(stage))  # fmt: skip
    assert next(done for stage, done, _ in stages if stage == "cbq") == 1
    assert show(again) == show(whole) and same(tables(again), tables(whole))
    assert len(tables(whole)) > 21 * 2 and len(found.reports) == 2


class Interrupted(Exception):
    pass


def test_another_entry_takes_the_same_tables(model, llama):
    gm, weights = model
    given = run(model, "static-ranges{spread=0},cbq{bits=w4a8sg32,epochs=1}")
    other = parse(llama)
    run_pipeline(other, parse_pipeline("static-ranges{spread=0},cbq{bits=w4a8sg32,epochs=1}"),
                 Context(weights, decisions=given.decisions))  # fmt: skip
    assert show(other) == show(gm) and same(tables(other), tables(gm))
    grids = [held for name, held in tables(gm).items() if "codes" in name]
    shared = tables(other)
    assert all(held.data_ptr() == shared[name].data_ptr() for name, held in tables(gm).items() if "codes" in name)
    assert len(grids) == 7


def test_what_an_entry_adds_is_learned_and_the_rest_stays(model, llama):
    """Ranges too: the second entry has a linear whose decision is missing."""
    gm, weights = model
    pipeline = parse_pipeline("static-ranges{spread=0},cbq{bits=w4a8sg32,epochs=1}")
    given = run(model, "static-ranges{spread=0},cbq{bits=w4a8sg32,epochs=1}")
    lost = [key for key in given.decisions._kept if key[1] == "model.layers.0.mlp.down_proj.weight w4g32"]
    for key in lost:
        del given.decisions._kept[key]
    assert len(lost) == 1
    other = parse(llama)
    run_pipeline(other, pipeline, context(weights, decisions=given.decisions))
    mine, theirs = tables(gm), tables(other)
    assert {name for name in mine if not torch.equal(mine[name], theirs[name])} <= {
        name for name in mine if "down_proj" in name
    }


@pytest.mark.parametrize("bits", ["w4a8g64a", "w8a8"])
def test_quantize_takes_the_very_codes(model, bits):
    gm, _ = model
    run(model, f"cbq{{bits={bits},epochs=1}}")
    chosen = {n.meta["hf"]: arguments(arguments(n)["weight"]) for n in calls(gm, "aten.linear") if n.name != "logits"}
    make("quantize", f"bits={bits}")(gm, context(model[1]))
    found = {n.meta["hf"]: arguments(n) for n in calls(gm, "edgeq.qlinear") if n.meta["hf"] != "lm_head"}
    assert set(found) == set(chosen) and len(found) == 7
    for name, own in found.items():
        assert (own["w"], own["w_scale"], own["w_zero"]) == tuple(chosen[name][k] for k in ("codes", "scale", "zero"))


def test_formats_of_their_own(model):
    gm, _ = model
    formats = {"*.down_proj": "w8", "*.self_attn.?_proj": "w4g64a", "*.up_proj": "f16"}
    found = run(model, "cbq{epochs=1}", formats=formats)
    assert [grid_format(n.args[1]) for n in calls(gm, "aten.linear")] == [
        "w4g64a", "w4g64a", "w4g64a", "w4g64a", "w8", None, "w8", None,
    ]  # fmt: skip
    assert ("model.layers.0.mlp.up_proj", "it is stored as f16: nothing to round") in [
        (site.module, site.what) for site in found.reports[0].declined
    ]  # fmt: skip


def test_what_is_on_a_grid_stays(deep):
    """`gptq` decided the first layer and q; the rest learns with those weights and activations quantized."""
    gm, weights = deep
    formats = {"*.1.*": "f16", "model.layers.1.self_attn.q_proj": "w3g32"}
    run(deep, "gptq{bits=}", formats=formats | {"*.0.*": "w3g32"})
    decided = {name: held.clone() for name, held in tables(gm).items()}
    assert sum("codes" in name for name in decided) == 8
    before = values(gm, weights)
    found = run(deep, "cbq{epochs=1}", formats={"*.1.*": "w3g32"})
    assert len(found.reports[0].changed) == 6
    now = tables(gm)
    assert all(torch.equal(held, now[name]) for name, held in decided.items())
    assert sum(s.what == "its weight is on a grid already" for s in found.reports[0].declined) == 8
    assert torch.equal(values(gm, weights)["q_proj"], before["q_proj"])
    report = make("cbq", "bits=w3a16g32")(gm, context(weights))
    assert not report.changed


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_other_models(name):
    """Errors of every window fall or stay; GPT-2's q, k, v are slices of one weight."""
    found = build(name)
    found.outputs()
    reports = run_passes(found, "cbq{bits=w4a8,epochs=1,device=cpu}")
    changed = [site for report in reports for site in report.changed]
    assert len(changed) > 5
    for gm in found.graphs.values():
        verify(gm, types=True)
    for site in changed:
        before, after = map(float, site.what.partition("window ")[2].split(" -> "))
        assert after <= before < 10


def test_what_cannot_be_done_is_said(model):
    gm, weights = model
    with pytest.raises(UsageError, match="needs a model"):
        make("cbq")(gm)
    with pytest.raises(UsageError, match="this graph has none"):
        make("cbq", "bits=w4a16")(gm, Context(weights))
    for bad, words in {
        "range=max": "range=max is not known; known: minmax, mse", "device=tpu": "known: auto, cpu, cuda",
        "window=2,overlap=2": "0 <= overlap < window", "window=-1": "0 <= overlap < window",
        "epochs=-1": "0 or more", "batch=0": "1 or more", "lr=-1": "not negative", "drop=1.5": "between 0 and 1",
    }.items():  # fmt: skip
        with pytest.raises(UsageError, match=words):
            make("cbq", bad)
    with pytest.raises(UsageError, match="5"):
        run(model, "cbq{bits=w5a16}")
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="no GPU here"):
            run(model, "cbq{device=cuda}")
    run(model, "add-cache{context=64}")
    with pytest.raises(UsageError, match="before add-cache"):
        run(model, "cbq{bits=w4a16}")


def test_what_is_not_finite_is_said(model):
    _, weights = model
    weights.tensors["model.layers.0.mlp.up_proj.weight"][3, 4] = torch.inf
    with pytest.raises(UnsupportedError, match="up_proj: a scale of inf"):
        run(model, "cbq{bits=w4a16,epochs=1}")
    weights.tensors["model.layers.0.mlp.up_proj.weight"][3, 4] = 0
    weights.tensors["model.embed_tokens.weight"][:] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        run(model, "cbq{bits=w4a16,epochs=1}")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: device=cuda is not run")
def test_a_gpu_learns_too(deep):
    found = run(deep, "cbq{bits=w3a8g32,epochs=2,device=cuda}")
    for site in found.reports[0].changed:
        before, after = map(float, site.what.partition("window ")[2].split(" -> "))
        assert after < before


def test_it_starts_from_gptq(model):
    """Without epochs the codes are those of gptq; learning from there does not make the error larger."""
    gm, weights = model
    other = parse(show(gm))
    run((gm, weights), "cbq{bits=w3a16g32,epochs=0,start=gptq}")
    run((other, Weights(other)), "gptq{bits=w3a16g32,range=weighted}")
    for name, found in values(other, Weights(other)).items():
        assert torch.equal(values(gm, weights)[name], found), name


def test_soft_rounding_starts_at_the_float_weight():
    with pytest.raises(UsageError, match="needs hard=true"):
        make("cbq", "start=gptq,hard=false")
    with pytest.raises(UsageError, match="known: nearest, gptq"):
        make("cbq", "start=zero")
