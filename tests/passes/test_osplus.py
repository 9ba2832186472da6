"""Outlier Suppression+: its formulas, its fold, and that the search never loses to doing nothing."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from test_objective import Weights, sample

from edgeq.calibrate.samples import Sample
from edgeq.errors import UsageError
from edgeq.ir.graph import calls, inputs, output
from edgeq.ir.text import parse, show
from edgeq.ir.values import call, weight_value
from edgeq.ir.verify import verify
from edgeq.passes.osplus import extent, fits, threshold_scale, thresholds
from edgeq.passes.pass_ import Context, Range
from edgeq.passes.pipeline import make

GRAPH = """
%x = input : f32[1, 24, 16]
%g = weight norm.weight : f32[16]
%b = weight norm.bias : f32[16]
%n = aten.layer_norm(%x, [16], %g, %b, 1e-05) : f32[1, 24, 16] @ norm
%w = weight fc1.weight : f32[32, 16]
%c = weight fc1.bias : f32[32]
%y = aten.linear(%n, %w, %c) : f32[1, 24, 32] @ fc1
%r = aten.relu(%y) : f32[1, 24, 32] @ act
%v = weight fc2.weight : f32[16, 32]
%z = aten.linear(%r, %v) : f32[1, 24, 16] @ fc2
return (%z,)
""".strip()


def samples(gm):
    x = torch.randn(1, 24, 16, generator=torch.Generator().manual_seed(9))
    return [Sample({"x": x}, torch.ones(24, dtype=torch.bool))]


class Planted(Weights):
    """A norm with one channel far off centre and one wide; fc1 with a large row."""

    def __init__(self, gm):
        super().__init__(gm)
        self.tensors["norm.weight"] = torch.ones(16)
        self.tensors["norm.weight"][5] = 40
        self.tensors["norm.bias"] = torch.zeros(16)
        self.tensors["norm.bias"][2] = 60
        self.tensors["fc1.bias"][3] /= 100


def run(gm, weights, given):
    known = {node: given[name].double() for name, node in inputs(gm).items()}
    for node in gm.graph.nodes:
        if node.op == "get_attr":
            known[node] = weight_value(node, weights).double()
        elif node.op == "call_function":
            known[node] = call(node, known.__getitem__)
    return known[output(gm).args[0][0]]


def test_scales_follow_the_formula():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(50, 12, generator=generator) * torch.rand(12, generator=generator) * 8 + 3
    own = Range(x.amin(0), x.amax(0))
    for z in (None, (own.low + own.high) / 2):
        moved = x if z is None else x - z
        for t in (0.5, 2.0, 7.0):
            expected = torch.stack([torch.ones(12), moved.amax(0) / t, moved.amin(0) / -t]).amax(0)
            scale = threshold_scale(own, z, t)
            torch.testing.assert_close(scale, expected)
            assert (scale >= 1).all()
            assert (moved / scale).abs().max() <= t * (1 + 1e-6)
        torch.testing.assert_close(threshold_scale(own, z, float("inf")), torch.ones(12))
        torch.testing.assert_close(extent(own, z), moved.abs().amax(0))


def test_the_grid_starts_where_nothing_is_scaled():
    size = torch.linspace(0.5, 40, 30)
    grid = thresholds(size, 0.0, 8)
    assert grid[0] == 40
    assert grid[-1] == pytest.approx(torch.quantile(size, 0.1).item())
    assert thresholds(size, 2.0, 8)[-1] == pytest.approx(2)
    ratios = [b / a for a, b in pairwise(grid)]
    assert max(ratios) == pytest.approx(min(ratios))
    assert thresholds(torch.ones(4), 0.0, 5) == [1.0] * 5
    assert thresholds(torch.tensor([0.3, 0.2]), 2.0, 3)[-1] == pytest.approx(0.3)  # all channels lie below


def test_scales_that_fp16_cannot_store_are_no_candidates():
    columns = torch.tensor([0.5, 2.0])
    assert fits(columns, torch.tensor([1.0, 3e4]))
    assert not fits(columns, torch.tensor([1.0, 4e4]))


@pytest.mark.parametrize("bits", ["w8a8", "w4a8", "w6a6spc", "w4a16"])
@pytest.mark.parametrize("options", ["", "shift=false", "scale=false"])
def test_it_changes_nothing_but_ranges_and_never_loses(bits, options):
    gm = parse(GRAPH)
    weights = Planted(gm)
    given = samples(gm)[0].inputs
    before = run(gm, weights, given)
    made = make("osplus", ",".join(filter(None, (f"bits={bits}", options))))
    context = Context(weights, samples=samples)
    report = made(gm, context)
    verify(gm, types=True)
    after = run(gm, weights, given)
    assert (after - before).abs().max() <= 1e-9 * before.abs().max()
    assert [site.module for site in report.changed] == ["norm", "act"]
    for key in ("norm: ", "relu: "):
        kept = next(d for (_, name), d in context.decisions._kept.items() if name.startswith(key))
        at_rest, best = kept["errors"].tolist()
        assert best <= at_rest
        assert "scale" not in kept or (kept["scale"] >= 1).all()


def test_it_centres_and_shrinks():
    gm = parse(GRAPH)
    report = make("osplus", "bits=w8a8s")(gm, Context(Planted(gm), samples=samples))
    norm, act = report.changed
    assert norm.before.high.max() > 50
    torch.testing.assert_close(norm.after.high, -norm.after.low, rtol=1e-4, atol=1e-4)
    assert norm.after.high.max() < 0.5 * norm.before.high.max()
    assert "shifts" in norm.what
    assert act.what.endswith("not shifted: ReLU clips at zero")


AFTER = """
%x = input : f32[1, 24, 16]
%g = weight norm.weight : f32[16]
%b = weight norm.bias : f32[16]
%fold_0 = weight fold_0 : f32[16]
%fold_1 = weight fold_1 : f32[16]
%div = aten.div.Tensor(%g, %fold_0) : f32[16]
%neg = aten.neg(%fold_1) : f32[16]
%add_1 = aten.add.Tensor(%b, %neg) : f32[16]
%div_1 = aten.div.Tensor(%add_1, %fold_0) : f32[16]
%n = aten.layer_norm(%x, [16], %div, %div_1, 1e-05) : f32[1, 24, 16] @ norm
%w = weight fc1.weight : f32[32, 16]
%c = weight fc1.bias : f32[32]
%mul = aten.mul.Tensor(%w, %fold_1) : f32[32, 16]
%sum_1 = aten.sum.dim_IntList(%mul, [1]) : f32[32]
%add = aten.add.Tensor(%c, %sum_1) : f32[32]
%mul_1 = aten.mul.Tensor(%w, %fold_0) : f32[32, 16]
%y = aten.linear(%n, %mul_1, %add) : f32[1, 24, 32] @ fc1
%r = aten.relu(%y) : f32[1, 24, 32] @ act
%v = weight fc2.weight : f32[16, 32]
%z = aten.linear(%r, %v) : f32[1, 24, 16] @ fc2
return (%z,)
"""


def test_the_graph_before_and_after():
    gm = parse(GRAPH)
    make("osplus", "kinds=norm,bits=w8a8s")(gm, Context(Planted(gm), samples=samples))
    assert show(gm).strip() == AFTER.strip()


def test_rms_norms_are_shifted_only_when_asked(llama):
    for options, shifted in (("", False), ("rms_shift=true", True)):
        gm = parse(llama)
        weights = Weights(gm)
        report = make("osplus", f"bits=w8a8s,kinds=norm{',' * bool(options)}{options}")(
            gm, Context(weights, samples=lambda gm: [sample()])
        )
        verify(gm, types=True)
        assert all(("shifts" in site.what) == shifted for site in report.changed)
        assert all(("no bias" in site.what) != shifted for site in report.changed)
        assert any(len(norm.args) > 2 for norm in calls(gm, "edgeq.rms_norm")) == shifted


def test_entries_share_decisions_and_wrong_use_is_refused(llama):
    gm, other = parse(llama), parse(llama)
    weights = Weights(gm)
    context = Context(weights, samples=lambda graph: [sample()] if graph is gm else [])
    first = make("osplus", "bits=w4a8")(gm, context)
    second = make("osplus", "bits=w4a8")(other, context)
    assert show(gm) == show(other)
    assert [s.what for s in first.changed] == [s.what for s in second.changed]
    with pytest.raises(UsageError, match="no samples"):
        make("osplus")(parse(llama), Context(weights))
    with pytest.raises(UsageError, match="no fold points of kind 'gelu'"):
        make("osplus", "kinds=gelu")(parse(llama), context)
    with pytest.raises(UsageError, match="steps be 2"):
        make("osplus", "steps=1")
