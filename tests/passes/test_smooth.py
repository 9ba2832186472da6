from __future__ import annotations

import pytest
import torch

from edgeq.calibrate.samples import text_sample
from edgeq.errors import UsageError
from edgeq.ir.graph import inputs, value
from edgeq.ir.text import parse, show
from edgeq.ir.values import weight_value
from edgeq.ir.verify import verify
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make

TOKENS = [3, 99, 0, 42, 7, 7, 120, 64, 5]


class Weights:
    """Seeded tensors; norm weights have one channel a hundred times the others."""

    def __init__(self, gm):
        generator = torch.Generator().manual_seed(0)
        self.tensors = {}
        for node in gm.graph.nodes:
            if node.op == "get_attr":
                tensor = torch.randn(value(node).shape, generator=generator) * 0.2
                if tensor.dim() == 1:
                    tensor[3] *= 100
                self.tensors[node.target] = tensor

    def read(self, name, rows=None):
        return self.tensors[name] if rows is None else self.tensors[name][rows]


def context(weights):
    return Context(weights, samples=lambda gm: [text_sample(TOKENS)])


def logits(gm, weights):
    """The graph run node by node."""
    given = {"input_ids": torch.tensor([TOKENS]), "position_ids": torch.arange(len(TOKENS))[None]}
    known = {node: given[name] for name, node in inputs(gm).items()}
    for node in gm.graph.nodes:
        if node.op == "get_attr":
            known[node] = weight_value(node, weights)
        elif node.op == "call_function":
            args, kwargs = torch.fx.map_arg((node.args, dict(node.kwargs)), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    return known[gm.graph.output_node().args[0]]


@pytest.mark.parametrize("norm", ["eps=1e-06", "eps=1e-06, offset=1.0"])
def test_float_results_stay_the_same_bit_for_bit(llama, norm):
    gm = parse(llama.replace("eps=1e-06", norm))
    weights = Weights(gm)
    before = logits(gm, weights)
    report = make("smooth", "kinds=norm+gated")(gm, context(weights))
    verify(gm, types=True)
    assert torch.equal(logits(gm, weights), before)
    assert [site.module for site in report.changed] == [
        "model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm", "model.layers.0.mlp",
    ]  # fmt: skip
    assert [(site.module, site.what) for site in report.declined] == [
        ("model.norm", "its weight is also the token embedding")
    ]
    assert show(parse(show(gm))) == show(gm)


def test_channels_become_more_alike(llama):
    gm = parse(llama)
    report = make("smooth", "kinds=norm+gated")(gm, context(Weights(gm)))

    def spread(own):
        largest = torch.maximum(own.low.abs(), own.high.abs())
        return (largest.max() / largest.median()).item()

    assert len(report.changed) == 3
    assert all(spread(site.after) < 0.5 * spread(site.before) for site in report.changed)


def test_layer_norms_with_bias_and_biased_linears():
    gm = parse(
        "%input_ids = input : i64[1, s]\n%e = weight e : f32[128, 16]\n"
        "%g = weight g : f32[16]\n%b = weight b : f32[16]\n"
        "%w = weight w : f32[32, 16]\n%c = weight c : f32[32]\n"
        "%x = aten.embedding(%e, %input_ids) : f32[1, s, 16]\n"
        "%n = aten.layer_norm(%x, [16], %g, %b, 1e-05) : f32[1, s, 16] @ ln\n"
        "%y = aten.linear(%n, %w, %c) : f32[1, s, 32] @ fc\nreturn %y\n"
    )
    weights = Weights(gm)
    before = logits(gm, weights)
    report = make("smooth", "alpha=0.7")(gm, context(weights))
    assert torch.equal(logits(gm, weights), before)
    assert str(report).startswith("smooth{alpha=0.7}: 1 changed, 0 declined\n  ln: scales")


def test_it_needs_weights_and_comes_first(llama):
    gm = parse(llama)
    with pytest.raises(UsageError, match="needs a model's weights"):
        make("smooth")(gm)
    make("add-cache")(gm)
    with pytest.raises(UsageError, match="before add-cache"):
        make("smooth")(gm, context(Weights(gm)))
    with pytest.raises(UsageError, match="between 0 and 1"):
        make("smooth", "alpha=2")
