"""Smoothing of static encoders: norms that are also residuals, samples of several texts, scales shared by entries."""

from __future__ import annotations

import pytest
import torch

from edgeq.calibrate.samples import encoder_samples
from edgeq.ir.graph import calls, inputs, output, value
from edgeq.ir.text import parse
from edgeq.ir.values import weight_value
from edgeq.ir.verify import verify
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make

GRAPH = """
%input_ids = input : i64[{b}, {s}]
%attention_mask = input : i64[{b}, {s}]
%e = weight words.weight : f32[50, 32]
%x = aten.embedding(%e, %input_ids) : f32[{b}, {s}, 32] @ words
%g = weight norm.weight : f32[32]
%c = weight norm.bias : f32[32]
%n = aten.layer_norm(%x, [32], %g, %c, 1e-05) : f32[{b}, {s}, 32] @ norm
%w = weight fc.weight : f32[32, 32]
%y = aten.linear(%n, %w) : f32[{b}, {s}, 32] @ fc
%r = aten.add.Tensor(%y, %n) : f32[{b}, {s}, 32] @ block
return (%r,)
"""
TEXTS = [[1, 7, 9, 2], [1, 30, 2], [1, *range(3, 30), 2]]


class Weights:
    """Seeded tensors in float64; one channel of the norm is a hundred times the others."""

    def __init__(self, gm):
        generator = torch.Generator().manual_seed(0)
        shapes = {str(node.target): value(node).shape for node in gm.graph.nodes if node.op == "get_attr"}
        self.tensors = {name: torch.randn(shape, generator=generator).double() for name, shape in shapes.items()}
        self.tensors["norm.weight"][3] *= 100

    def read(self, name, rows=None):
        return self.tensors[name] if rows is None else self.tensors[name][rows]


def graph(batch=1, length=8):
    return parse(GRAPH.format(b=batch, s=length).strip())


def context(weights):
    return Context(weights, samples=lambda gm: encoder_samples(gm, TEXTS))


def run(gm, weights, ids):
    known = {node: {"input_ids": ids, "attention_mask": torch.ones_like(ids)}[n] for n, node in inputs(gm).items()}
    for node in gm.graph.nodes:
        if node.op == "get_attr":
            known[node] = weight_value(node, weights).double()
        elif node.op == "call_function":
            args, kwargs = torch.fx.map_arg((node.args, dict(node.kwargs)), known.__getitem__)
            known[node] = node.target(*args, **kwargs)
    return known[output(gm).args[0][0]]


def test_a_norm_that_is_a_residual_is_split_and_results_stay():
    gm = graph()
    weights, ids = Weights(gm), torch.tensor([[1, 7, 9, 4, 5, 40, 33, 2]])
    before = run(gm, weights, ids)
    report = make("smooth", "powers=false")(gm, context(weights))
    verify(gm, types=True)
    assert len(calls(gm, "aten.layer_norm")) == 2
    assert [site.module for site in report.changed] == ["norm"]
    assert report.declined == ()
    torch.testing.assert_close(run(gm, weights, ids), before, rtol=1e-6, atol=1e-6)


def test_entries_that_share_weights_share_scales():
    long, short = graph(2, 16), graph(1, 4)
    weights = Weights(long)
    shared = context(weights)
    for gm in (long, short):
        make("smooth", "powers=false")(gm, shared)
    tables = [[b for name, b in gm._buffers.items() if name.startswith("fold_")] for gm in (long, short)]
    assert all(torch.equal(a, b) for a, b in zip(*tables, strict=True))


def test_texts_are_cut_padded_and_batched():
    samples = encoder_samples(graph(2, 8), TEXTS)
    assert [s.inputs["input_ids"].tolist() for s in samples] == [
        [[1, 7, 9, 2, 0, 0, 0, 0], [1, 30, 2, 0, 0, 0, 0, 0]],
        [[1, 3, 4, 5, 6, 7, 8, 2]] * 2,
    ]
    assert samples[0].inputs["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0, 0]]
    assert samples[0].counted.sum() == 7


@pytest.mark.parametrize("name", ["pixel_values", "n_keys"])
def test_graphs_that_take_something_else_have_no_samples(name):
    gm = parse(GRAPH.format(b=1, s=8).strip().replace("attention_mask", name))
    assert encoder_samples(gm, TEXTS) == []
