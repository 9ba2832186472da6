"""Coarse-to-fine preprocessing: channels shrink exactly, weights are cut off, each on its own where asked."""

from __future__ import annotations

import pytest
import torch
from test_objective import Weights
from test_osplus import GRAPH, run, samples

from edgeq.errors import UsageError
from edgeq.ir.graph import calls
from edgeq.ir.text import parse, show
from edgeq.ir.values import weight_value
from edgeq.ir.verify import verify
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make


class Planted(Weights):
    """A norm with one wide channel, fc1 with one large weight."""

    def __init__(self, gm):
        super().__init__(gm)
        self.tensors["norm.weight"] = torch.ones(16)
        self.tensors["norm.weight"][5] = 40
        self.tensors["norm.bias"] = torch.zeros(16)
        self.tensors["fc1.bias"] = torch.zeros(32)
        self.tensors["fc1.weight"][4, 6] = -9.0


def graph():
    gm = parse(GRAPH)
    return gm, Planted(gm)


def test_activations_alone_are_an_equivalence():
    gm, weights = graph()
    given = samples(gm)[0].inputs
    before = run(gm, weights, given)
    report = make("cfp")(gm, Context(weights, samples=samples))
    verify(gm, types=True)
    assert (run(gm, weights, given) - before).abs().max() <= 1e-9 * before.abs().max()
    norm = report.changed[0]
    assert norm.module == "norm"
    largest = norm.before.high.maximum(-norm.before.low)
    reserved = largest[torch.arange(16) != 5].max()
    scale = torch.ones(16)
    scale[5] = (largest[5] / reserved).sqrt()
    torch.testing.assert_close(norm.after.high, norm.before.high / scale)


@pytest.mark.parametrize("per", ["row", "matrix"])
def test_weights_are_cut_off(per):
    gm, weights = graph()
    report = make("cfp", f"weights=true,activations=false,per={per}")(gm, Context(weights))
    verify(gm, types=True)
    own = weights.tensors["fc1.weight"]
    cut = weight_value(calls(gm, "aten.linear")[0].args[1], weights)
    assert "fc1" in [site.module for site in report.changed]
    assert cut[4, 6] > -2
    inside = cut == own
    assert inside.float().mean() > 0.9
    assert (cut[~inside].abs() < own[~inside].abs()).all()
    assert (cut.sign() == own.sign()).all()


def test_the_graph_before_and_after():
    gm, weights = graph()
    weights.tensors["fc2.weight"].fill_(0.5)  # without an outlier it stays as it is
    make("cfp", "weights=true,activations=false,per=matrix")(gm, Context(weights))
    lines = [line for line in show(gm).splitlines() if "fc" in line or "limit" in line or "imum" in line]
    assert lines == [
        "%limit_0 = weight limit_0 : f32[1]",
        "%limit_1 = weight limit_1 : f32[1]",
        "%w = weight fc1.weight : f32[32, 16]",
        "%c = weight fc1.bias : f32[32]",
        "%minimum = aten.minimum(%w, %limit_0) : f32[32, 16]",
        "%maximum = aten.maximum(%minimum, %limit_1) : f32[32, 16]",
        "%y = aten.linear(%n, %maximum, %c) : f32[1, 24, 32] @ fc1",
        "%v = weight fc2.weight : f32[16, 32]",
        "%z = aten.linear(%r, %v) : f32[1, 24, 16] @ fc2",
    ]


def test_tied_heads_stay_and_wrong_use_is_refused(llama):
    gm = parse(llama)
    weights = Weights(gm)
    weights.tensors["model.embed_tokens.weight"][0, 0] = 100
    report = make("cfp", "weights=true,activations=false,per=matrix")(gm, Context(weights))
    assert "lm_head" not in [site.module for site in report.changed]
    with pytest.raises(UsageError, match="needs a model"):
        make("cfp")(parse(llama))
    with pytest.raises(UsageError, match="no samples"):
        make("cfp")(parse(llama), Context(weights))
    with pytest.raises(UsageError, match="known: row, matrix"):
        make("cfp", "per=tensor")
