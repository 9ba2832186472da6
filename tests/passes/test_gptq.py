"""The pass `gptq`: which linears get grids, in which order they are measured, and what reaches the quantized graph."""

from __future__ import annotations

import pytest
import torch
from float64 import build, run_passes
from test_objective import Weights, sample

from edgeq.calibrate.journal import Decisions, Journal
from edgeq.calibrate.samples import Sample
from edgeq.errors import ModelError, UsageError
from edgeq.ir.graph import arguments, calls, op
from edgeq.ir.text import parse, show
from edgeq.ir.values import call, weight_value
from edgeq.ir.verify import verify
from edgeq.passes.grids import grid_format
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make, parse_pipeline, run_pipeline
from edgeq.passes.rounding.gptq_columns import round_columns
from edgeq.passes.rounding.hessian import hessian, inverse_factor
from edgeq.quant.simulate import QuantSpec, fake_tokens, fake_weight

ROUNDED = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def context(gm, weights=None, samples=None, **given):
    samples = [sample(40), sample(33, 2), sample(29, 3)] if samples is None else samples
    return Context(weights or Weights(gm), samples=lambda gm: samples, **given)


@pytest.fixture
def model(llama):
    gm = parse(llama)
    return gm, Weights(gm)


def gptq(model, options="bits=w4a16g32", **given):
    gm, weights = model
    return make("gptq", options)(gm, context(gm, weights, **given))


def linears(gm):
    return {node.name: node for node in calls(gm, "aten.linear", "edgeq.qlinear")}


def tables(gm):
    """What was stored: name -> tensor."""
    return {name: held for name, held in gm.named_buffers() if held.device.type != "meta"}


def run(gm, weights, given):
    """Every activation, exactly as the graph says; tables of the module included."""
    known = {}
    for node in gm.graph.nodes:
        if node.op == "placeholder":
            known[node] = given.inputs[str(node.target)]
        elif node.op == "get_attr":
            known[node] = weight_value(node, weights)
        elif node.op != "output":
            known[node] = call(node, known.__getitem__)
    return {node.name: held for node, held in known.items()}


def test_before_and_after(model, lines):
    gm, _ = model
    report = gptq(model)
    verify(gm, types=True)
    text = show(gm)
    assert show(parse(text)) == text
    o = lines(text, "self_attn_o_proj", "%o = ")
    assert [line.rpartition(" : ")[2].partition(" @")[0] for line in o] == [
        "u8[64, 64]", "f16[64, 2]", "f32[64, 64]", "f32[1, s, 64]",
    ]  # fmt: skip
    assert "edgeq.grid(" in o[2] and "weight='w4g32'" in o[2]
    assert [site.module.rpartition(".")[2] for site in report.changed] == ROUNDED
    assert all(site.what.startswith("w4g32, error 0.0") for site in report.changed)
    assert [(site.module, site.what) for site in report.declined] == [
        ("lm_head", "its weight is also the token embedding")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bits", "options"),
    [
        *((bits, "") for bits in ("w4a16", "w4a8g64a", "w8a8", "w3a16g64", "w2a4g32a")),
        *(("w4a8g64a", options) for options in (",act_order=false", ",sequential=false", ",range=mse")),
        ("w4a8g64a", ",range=weighted,even=true"),
    ],
)
def test_quantized_outputs_come_closer(model, bits, options):
    """Than by rounding to nearest, linear by linear, on activations of the float model too."""
    gm, weights = model
    float_values = run(gm, weights, sample(60, 9))
    was = {name: weight_value(arguments(node)["weight"], weights) for name, node in linears(gm).items()}
    report = gptq(model, f"bits={bits}{options}")
    assert len(report.changed) == 7
    known = {"w4a16": (4, 32), "w4a8g64a": (4, 64, False), "w8a8": (8,), "w3a16g64": (3, 64)}
    method = "mse" if "mse" in options else "minmax"
    errors = {}
    for name, node in linears(gm).items():
        if name == "logits":
            continue
        x, w = float_values[arguments(node)["input"].name][0], was[name]
        now = weight_value(arguments(node)["weight"], weights)
        nearest = fake_weight(w, *known.get(bits, (2, 32, False)), method=method)
        errors[name] = [float((x @ (v - w).T).square().sum() / (x @ w.T).square().sum()) for v in (nearest, now)]
    before, after = (sum(pair[i] for pair in errors.values()) for i in (0, 1))
    assert after < 0.9 * before, errors


def test_what_the_samples_do_not_say_is_rounded_to_nearest(model):
    """Tokens of one channel each, alike: H is a multiple of the identity."""
    gm, weights = model
    weights.tensors["model.layers.0.input_layernorm.weight"] = torch.ones(64)
    embed = torch.zeros(128, 64)
    embed[:64], embed[64:] = torch.eye(64), -torch.eye(64)
    weights.tensors["model.embed_tokens.weight"] = embed
    ids = torch.arange(128)[None]
    given = Sample({"input_ids": ids, "position_ids": torch.arange(128)[None]}, torch.ones(128, dtype=torch.bool))
    was = weight_value(arguments(linears(gm)["q"])["weight"], weights)
    gptq(model, samples=[given])
    now = weight_value(arguments(linears(gm)["q"])["weight"], weights)
    assert torch.equal(now, fake_weight(was, 4, 32))
    down = linears(gm)["down"]
    was = weights.read("model.layers.0.mlp.down_proj.weight")
    assert not torch.equal(weight_value(arguments(down)["weight"], weights), fake_weight(was, 4, 32))


@pytest.mark.parametrize("sequential", [True, False])
def test_later_linears_see_what_earlier_ones_lose(model, llama, sequential):
    """`down` is measured behind the rounded attention, and with `sequential` behind the rounded gate and up."""
    gm, weights = model
    gptq(model, f"bits=w3a8g32,sequential={str(sequential).lower()}")
    found = weight_value(arguments(linears(gm)["down"])["weight"], weights)
    quant = QuantSpec(3, 32, act="token")
    mixed = parse(llama)
    kept = {"q", "k", "v", "o"} | ({"gate", "up"} if sequential else set())
    own = {name: weight_value(arguments(node)["weight"], weights) for name, node in linears(gm).items()}
    rows = [fake_tokens(_behind(mixed, weights, own, kept, one)) for one in (sample(40), sample(33, 2), sample(29, 3))]
    h = hessian(rows).matrix
    order = h.diagonal().argsort(descending=True, stable=True)
    upper = inverse_factor(h[order][:, order], 0.01).upper
    plain = weights.read("model.layers.0.mlp.down_proj.weight")
    expected = round_columns(plain, upper, quant, order=order).values(quant)
    assert (found != expected).float().mean() < 0.01
    other = hessian([fake_tokens(_behind(mixed, weights, own, set(), one)) for one in (sample(40),)]).matrix
    assert not torch.allclose(h, other, rtol=1e-3)


def _behind(gm, weights, own, kept, given):
    """The input of `down` when the linears in `kept` are rounded and read int8 tokens."""
    known = {}
    for node in gm.graph.nodes:
        if node.op == "placeholder":
            known[node] = given.inputs[str(node.target)]
        elif node.op == "get_attr":
            known[node] = weight_value(node, weights)
        elif op(node) == "aten.linear" and node.name in kept:
            known[node] = fake_tokens(known[node.args[0]]) @ own[node.name].T
        elif node.name == "down":
            return known[node.args[0]][0]
        else:
            known[node] = call(node, known.__getitem__)
    raise AssertionError


@pytest.mark.parametrize("bits", ["w4a8g64a", "w8a8"])
def test_quantize_takes_the_very_codes(model, bits):
    gm, weights = model
    given = context(gm, weights)
    make("gptq", f"bits={bits}")(gm, given)
    chosen = {n.meta["hf"]: arguments(arguments(n)["weight"]) for n in linears(gm).values() if n.name != "logits"}
    make("quantize", f"bits={bits}")(gm, given)
    verify(gm, types=True)
    found = {n.meta["hf"]: arguments(n) for n in calls(gm, "edgeq.qlinear") if n.meta["hf"] != "lm_head"}
    assert set(found) == set(chosen) and len(found) == 7
    for name, own in found.items():
        assert (own["w"], own["w_scale"], own["w_zero"]) == tuple(chosen[name][k] for k in ("codes", "scale", "zero"))


def test_formats_of_their_own(model):
    gm, _ = model
    report = gptq(model, "", formats={"*.down_proj": "w8", "*.self_attn.?_proj": "w4g64a", "*.up_proj": "f16"},
                  bits=None)  # fmt: skip
    formats = {name: grid_format(arguments(node)["weight"]) for name, node in linears(gm).items()}
    assert formats == {
        "q": "w4g64a", "k": "w4g64a", "v": "w4g64a", "o": "w4g64a", "gate": "w8", "up": None, "down": "w8",
        "logits": None,
    }  # fmt: skip
    assert ("model.layers.0.mlp.up_proj", "it is stored as f16: nothing to round") in [
        (site.module, site.what) for site in report.declined
    ]  # fmt: skip


def test_another_entry_takes_the_same_tables(model, llama):
    gm, weights = model
    given = context(gm, weights)
    make("gptq", "bits=w4a16")(gm, given)
    other = parse(llama)
    make("gptq", "bits=w4a16")(other, Context(weights, decisions=given.decisions))
    assert show(other) == show(gm)
    held = tables(gm)
    assert len(held) == 14 and all(t.data_ptr() == held[name].data_ptr() for name, t in tables(other).items())


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("sequential", ["true", "false"])
def test_an_interrupted_compile_decides_the_same(model, llama, tmp_path, sequential):
    gm, weights = model
    options = f"bits=w4a8,sequential={sequential}"
    make("gptq", options)(gm, context(gm, weights))

    def stop(stage, done, total):
        if done == 1:
            raise Interrupted

    again = parse(llama)
    (tmp_path / "journal").mkdir()
    with pytest.raises(Interrupted):
        journal = Journal(tmp_path / "journal", {})
        make("gptq", options)(again, context(again, weights, decisions=journal, progress=stop))
    stages = []
    journal = Journal(tmp_path / "journal", {})
    make("gptq", options)(again, context(again, weights, decisions=journal, progress=lambda s, d, t: stages.append(d)))
    assert stages[0] == 1 and show(again) == show(gm)
    held = tables(again)
    assert all(torch.equal(table, held[name]) for name, table in tables(gm).items())


def test_after_folds(model):
    gm, weights = model
    given = context(gm, weights)
    run_pipeline(gm, parse_pipeline("smooth,awq{bits=w4a16,step=0.25},clip-weights{bits=w4a16,method=mse}"), given)
    folded = {name: weight_value(arguments(node)["weight"], weights) for name, node in linears(gm).items()}
    assert op(arguments(linears(gm)["v"])["weight"]) == "aten.minimum"
    report = make("gptq", "bits=w4a16")(gm, given)
    verify(gm, types=True)
    assert len(report.changed) == 7
    for name, node in linears(gm).items():
        now = weight_value(arguments(node)["weight"], weights)
        assert (now - folded[name]).norm() < 0.35 * folded[name].norm()


def test_with_static_ranges(model):
    """Linears are measured behind them; quantize takes in both."""
    gm, weights = model
    given = context(gm, weights)
    run_pipeline(gm, parse_pipeline("static-ranges{spread=0},gptq{bits=w8a8s},quantize{bits=w8a8s}"), given)
    verify(gm, types=True)
    found = [arguments(n) for n in calls(gm, "edgeq.qlinear") if n.meta["hf"] != "lm_head"]
    assert len(found) == 7 and all(one["act"] == "a8s" and one["x_scale"] and one["w_scale"] for one in found)


@pytest.mark.parametrize("pipeline", ["rotate{r4=true}", "gamma-migration,osplus{bits=w4a8}", "cfp", "pre-sinq"])
def test_after_other_passes(model, pipeline):
    gm, weights = model
    reports = run_pipeline(gm, parse_pipeline(f"{pipeline},gptq{{bits=w4a8}}"), context(gm, weights))
    verify(gm, types=True)
    assert len(reports[-1].changed) == 7


def test_one_weight_in_two_layers_is_rounded_once():
    from small_decoder import two_layers

    gm = two_layers()
    report = gptq((gm, Weights(gm)))
    assert len(report.changed) == 14
    first, second = (arguments(linears(gm)[name])["weight"] for name in ("q", "q_1"))
    assert torch.equal(weight_value(first, Weights(gm)), weight_value(second, Weights(gm)))


@pytest.mark.parametrize("name", ["bert", "sam", "detr", "bart"])
def test_static_models(name):
    """Only what is no padding counts; linears of inputs and of constants too."""
    model = build(name)
    model.outputs()
    reports = run_passes(model, "gptq{bits=w4a8}")
    changed = [site for report in reports for site in report.changed]
    assert len(changed) > 5
    for gm in model.graphs.values():
        verify(gm, types=True)
    assert all("format of its own" in s.what or "embedding" in s.what or "no token" in s.what
               for report in reports for s in report.declined)  # fmt: skip


def test_padding_of_encoders_does_not_count():
    model = build("bert")
    (gm,) = [gm for gm in model.graphs.values() if calls(gm, "aten.linear")][:1]
    (own,) = model.samples(gm)
    mask = own.inputs["attention_mask"].clone()
    mask[:, 5:] = 0
    found = []
    for filler in (3, 4):
        ids = own.inputs["input_ids"].clone()
        ids[:, 5:] = filler
        given = Sample({**own.inputs, "input_ids": ids, "attention_mask": mask}, mask.flatten().bool())
        copy = build("bert")
        graph = next(iter(g for g in copy.graphs.values() if calls(g, "aten.linear")))
        make("gptq", "bits=w4a8")(graph, Context(copy, samples=lambda gm, given=given: [given]))
        found.append(tables(graph))
    codes = [name for name in found[0] if name.endswith("codes")]
    assert codes and all(torch.equal(found[0][name], found[1][name]) for name in codes)


def test_the_first_token_counts(model, llama):
    gm, weights = model
    gptq(model)
    other = parse(llama)
    whole = [Sample(s.inputs, torch.ones_like(s.counted)) for s in (sample(40), sample(33, 2), sample(29, 3))]
    gptq((other, weights), samples=whole)
    held = tables(other)
    assert len(held) == 14 and all(torch.equal(table, held[name]) for name, table in tables(gm).items())


def test_moments_that_cannot_be_inverted_are_said(model, monkeypatch):
    gm, _ = model
    monkeypatch.setattr("edgeq.passes.rounding.gptq_decision.inverse_factor", lambda matrix, damp: None)
    report = gptq(model)
    assert not report.changed and len(report.declined) == 8
    assert report.declined[0].what == (
        "the moments of its input cannot be inverted, not damped by 100 either: left to be rounded to nearest"
    )
    assert grid_format(arguments(linears(gm)["q"])["weight"]) is None


def test_what_cannot_be_done_is_said(model):
    gm, weights = model
    with pytest.raises(UsageError, match="needs a model"):
        make("gptq")(gm)
    with pytest.raises(UsageError, match="no samples"):
        make("gptq", "bits=w4a16")(gm, Context(weights))
    with pytest.raises(UsageError, match="range=max is not known; known: minmax, mse, weighted"):
        make("gptq", "range=max")
    for bad in ("damp=0", "damp=1", "block=0"):
        with pytest.raises(UsageError, match="damp lies between 0 and 1"):
            make("gptq", bad)
    with pytest.raises(UsageError, match="5"):
        gptq(model, "bits=w5a16")
    weights.tensors["model.layers.0.mlp.up_proj.weight"][3, 4] = torch.nan
    with pytest.raises(ModelError, match=r"mlp.up_proj: its weight holds NaN"):
        gptq(model)
    weights.tensors["model.embed_tokens.weight"][:] = torch.inf
    with pytest.raises(ModelError, match=r"q_proj.*its input holds NaN or infinity on calibration samples 0, 1, 2"):
        gptq(model)


def test_twice_and_after_caches(model):
    gm, weights = model
    gptq(model)
    report = gptq(model)
    assert not report.changed and "its weight is on a grid already" in [site.what for site in report.declined]
    make("add-cache")(gm, Context(weights))
    with pytest.raises(UsageError, match="before add-cache"):
        gptq(model)


def test_decisions_are_what_a_journal_keeps(model):
    _, weights = model
    kept = {}

    class Recorder(Decisions):
        def put(self, step, key, tensors):
            kept[key] = tensors
            super().put(step, key, tensors)

    gptq(model, "bits=w4a8g64a", decisions=Recorder())
    assert set(kept) == {f"{name} w4g64a" for name in weights.tensors if name.endswith("_proj.weight")}
    decision = kept["model.layers.0.mlp.down_proj.weight w4g64a"]
    assert {name: t.dtype for name, t in decision.items() if name in ("codes", "scale", "zero")} == {
        "codes": torch.uint8, "scale": torch.float16, "zero": torch.uint8,
    }  # fmt: skip
    assert int(decision["tokens"]) == 102 and decision["damp"].item() == pytest.approx(0.01)
