"""static-ranges: where scales go, what they are, that siblings still merge and that quantize takes them in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, fx

from edgeq.calibrate.samples import text_sample
from edgeq.calibrate.stream import Captured
from edgeq.errors import UnsupportedError, UsageError
from edgeq.ir.graph import arguments, calls, value
from edgeq.ir.text import parse, show
from edgeq.ir.verify import verify
from edgeq.passes.clips.spots import Spot
from edgeq.passes.clips.token_clipping import compared, ratios
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.passes.static_ranges import _statistics
from edgeq.quant.bits import Bits

TOKENS = [3, 99, 0, 42, 7, 7, 120, 64, 5, 88, 17, 23, 4, 111, 9]


class Random:
    """Seeded weights by name."""

    def __init__(self, gm: fx.GraphModule) -> None:
        generator = torch.Generator().manual_seed(0)
        nodes = [node for node in gm.graph.nodes if node.op == "get_attr"]
        self.tensors = {n.target: torch.randn(tuple(value(n).shape), generator=generator) * 0.2 for n in nodes}

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        return self.tensors[name] if rows is None else self.tensors[name][rows]


@pytest.fixture
def ranged(llama):
    """pipeline -> (graph, reports, context); samples: a text of 15 tokens, twice."""

    def run(pipeline: str, bits: str = "", samples=(TOKENS, TOKENS[::-1])):
        gm = parse(llama)
        context = Context(Random(gm), samples=lambda _: [text_sample(tokens) for tokens in samples])
        context.bits = Bits.parse(bits) if bits else None
        reports = run_pipeline(gm, parse_pipeline(pipeline), context)
        verify(gm, types=True)
        assert show(parse(show(gm))) == show(gm)
        return gm, reports, context

    return run


def scales(gm: fx.GraphModule) -> list[float]:
    return [float(gm._buffers[str(arguments(node)["scale"].target)]) for node in calls(gm, "edgeq.fake_quant")]


def test_one_range_for_each_activation_that_linears_read(ranged, lines):
    gm, (report,), _ = ranged("static-ranges{method=minmax}")
    text = show(gm)
    assert lines(text, "edgeq.fake_quant", "q_proj", "k_proj")[1:5] == [
        "%k_w = weight model.layers.0.self_attn.k_proj.weight : f32[32, 64]",
        "%fake_quant = edgeq.fake_quant(%rms_norm, %range_0) : f32[1, s, 64] @ model.layers.0.self_attn.q_proj",
        "%q = aten.linear(%fake_quant, %q_w) : f32[1, s, 64] @ model.layers.0.self_attn.q_proj",
        "%k = aten.linear(%fake_quant, %k_w) : f32[1, s, 32] @ model.layers.0.self_attn.k_proj",
    ]
    assert len(calls(gm, "edgeq.fake_quant")) == len(report.changed) == 5  # qkv, o, gate and up, down, head


def test_siblings_merge_across_a_range_and_quantize_takes_it_in(ranged, lines):
    gm, _, _ = ranged("static-ranges,add-cache{context=16},last-row,merge-linears,quantize{bits=w8a8s}")
    text = show(gm)
    assert not lines(text, "fake_quant", "aten.linear")
    assert len(lines(text, "act='a8s'")) == 5
    assert lines(text, "edgeq.qlinear")[0] == (
        "%qlinear = edgeq.qlinear(%rms_norm, %cat, None, %range_0, weight='w8', act='a8s') : f32[1, s, 128]"
        " @ model.layers.0.self_attn.{q_proj,k_proj,v_proj}"
    )


def test_minmax_is_the_largest_magnitude_of_the_counted_rows(ranged):
    gm, (report,), _ = ranged("static-ranges{method=minmax}")
    reaches = [max(float(site.before.high.max()), -float(site.before.low.min())) for site in report.changed]
    assert scales(gm) == pytest.approx([reach / 127 for reach in reaches])
    assert all(torch.equal(site.before.high, site.after.high) for site in report.changed)


def test_other_methods_clip_and_report_it(ranged):
    gm, (report,), _ = ranged("static-ranges{method=percentile,percentile=90}")
    limit = scales(gm)[0] * 127
    site = report.changed[0]
    assert float(site.after.high.max()) == pytest.approx(limit, rel=1e-5) and float(site.before.high.max()) > limit


def test_another_entry_takes_the_same_decisions_without_samples(ranged, llama):
    gm, _, context = ranged("static-ranges{method=mse}")
    again = parse(llama)
    context.samples = lambda _: []
    run_pipeline(again, parse_pipeline("static-ranges{method=mse}"), context)
    assert show(again) == show(gm) and scales(again) == scales(gm)


def test_a_float_head_has_no_range(ranged):
    _, (report,), _ = ranged("static-ranges", "w8a8sheadfp16")
    assert len(report.changed) == 4 and not any("lm_head" in site.module for site in report.changed)
    _, (report,), _ = ranged("static-ranges{head=false}")
    assert len(report.changed) == 4


def test_an_activation_of_tokens_of_different_size_keeps_a_scale_a_token(ranged):
    _, (report,), context = ranged("static-ranges{spread=0}")
    assert len(report.changed) == 5
    spreads = sorted(float(decision["spread"]) for decision in context.decisions._kept.values())
    middle = (spreads[2] + spreads[3]) / 2
    gm, reports, _ = ranged(f"static-ranges{{spread={middle}}},merge-linears,quantize{{bits=w8a8s}}")
    assert len(reports[0].declined) == 2 and all("its largest token reaches" in s.what for s in reports[0].declined)
    acts = [node.kwargs["act"] for node in calls(gm, "edgeq.qlinear")]
    assert sorted(acts) == ["a8", "a8", "a8s", "a8s", "a8s"]


def test_a_giant_first_token_counts_as_one_of_them_but_in_no_range():
    one = torch.ones(1, 15, 8)
    one[:, 0] = 50
    spot = Spot(object(), (), "")  # type: ignore[arg-type]
    captured = Captured([text_sample(TOKENS)], {spot.activation: [one]})
    found = _statistics(spot, captured, static=False)
    assert float(found["spread"]) == 50 and float(found["high"].max()) == 1
    assert float(_statistics(spot, captured, static=True)["spread"]) == 1


def test_token_wise_at_ratio_1_is_minmax_and_the_graph_is_whole_again(ranged, monkeypatch):
    from edgeq.passes.clips import token_clipping

    monkeypatch.setattr(token_clipping, "ratios", lambda bits, tokens, most: [1.0])
    token, (report,), _ = ranged("static-ranges{method=tokenwise}")
    plain, _, _ = ranged("static-ranges{method=minmax}")
    assert scales(token) == pytest.approx(scales(plain)) and set(token._buffers) == set(plain._buffers)
    assert len(token.graph.nodes) == len(plain.graph.nodes)
    assert "ratio 1" in report.changed[0].what


def test_token_wise_takes_the_ratio_of_least_error_of_the_logits(ranged, monkeypatch):
    from edgeq.passes.clips import token_clipping

    seen = {}
    plain = token_clipping.choose_ratio

    def spy(*given):
        seen["found"] = plain(*given)
        return seen["found"]

    monkeypatch.setattr("edgeq.passes.static_ranges.choose_ratio", spy)
    ranged("static-ranges{method=tokenwise,bits=4}")
    ratio, errors = seen["found"]
    assert len(errors) == 11 and ratio == min(errors, key=lambda pair: pair[1])[0]
    assert len({error for _, error in errors}) == 11


def test_logits_are_compared_without_being_kept(ranged, llama):
    gm = parse(llama)
    weights = Random(gm)
    (one,) = compared(gm, weights)
    head = weights.tensors[str(arguments(one.node)["weight"].target)]
    a, b = torch.randn(5, 64), torch.randn(5, 64)
    assert one.error(a, b) == pytest.approx(float(((a - b) @ head.T).square().sum()), rel=1e-4)


def test_ratios_go_as_far_as_published():
    assert ratios(8, 4096, 11) == pytest.approx([1 - 0.01 * i for i in range(11)])
    assert ratios(4, 4096, 200)[-1] == pytest.approx(0.1) and len(ratios(4, 4096, 200)) == 91
    assert ratios(8, 2 * 4096, 100)[1] == pytest.approx(0.995)
    assert len(ratios(4, 100, 11)) == 11


@pytest.mark.parametrize(
    ("pipeline", "word"),
    [
        ("static-ranges,merge-linears,quantize{bits=w8a8}", "write a8s"),
        ("static-ranges{bits=4},merge-linears,quantize{bits=w8a8s}", "activations of 4 bits have no kernel"),
        ("merge-linears,quantize{bits=w8a8s}", "run static-ranges"),
    ],
)
def test_what_does_not_fit_together_is_refused(ranged, pipeline, word):
    with pytest.raises(UnsupportedError, match=word):
        ranged(pipeline)


def test_no_samples_no_ranges(ranged, llama):
    with pytest.raises(UsageError, match="samples"):
        ranged("static-ranges", samples=())
    with pytest.raises(UsageError, match="weights"):
        run_pipeline(parse(llama), parse_pipeline("static-ranges"))
    for options in ("method=best", "bits=9", "percentile=0"):
        with pytest.raises(UsageError):
            parse_pipeline(f"static-ranges{{{options}}}")
