"""The objective of searches: the output that follows, with the quantization that the compiled model will have."""

from __future__ import annotations

import pytest
import torch

from edgeq.calibrate.samples import Sample
from edgeq.ir.graph import inputs, is_weight, op, value
from edgeq.ir.text import parse
from edgeq.ir.values import call, weight_value
from edgeq.passes.folds.cones import cones
from edgeq.passes.folds.fold_points import fold_points
from edgeq.passes.folds.folding import fold
from edgeq.passes.folds.objective import Objective, least, wanted_by
from edgeq.quant.simulate import QuantSpec

W8A8 = QuantSpec(8, act="token")


class Weights:
    """Seeded tensors; one channel of each norm is a hundred times the others."""

    def __init__(self, gm):
        generator = torch.Generator().manual_seed(0)
        shapes = {str(node.target): value(node).shape for node in gm.graph.nodes if node.op == "get_attr"}
        self.tensors = {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in shapes.items()}
        for tensor in self.tensors.values():
            if tensor.dim() == 1:
                tensor[3] *= 100

    def read(self, name, rows=None):
        return self.tensors[name] if rows is None else self.tensors[name][rows]


class Captured:
    """Every activation of a graph on some samples, as `stream` gives a block's."""

    def __init__(self, gm, weights, samples):
        self.samples = samples
        self._all = [self._run(gm, weights, sample) for sample in samples]

    def _run(self, gm, weights, sample):
        known = {node: sample.inputs[name] for name, node in inputs(gm).items()}
        for node in gm.graph.nodes:
            if node.op == "call_function" and not is_weight(node):
                known[node] = call(node, lambda n: known[n] if n in known else weight_value(n, weights))
        return known

    def __contains__(self, node):
        return node in self._all[0]

    def values(self, node):
        return [known[node] for known in self._all]

    def rows(self, node):
        return [v.flatten(0, -2)[s.counted] for v, s in zip(self.values(node), self.samples, strict=True)]


def sample(length=12, seed=1):
    ids = torch.randint(0, 128, (1, length), generator=torch.Generator().manual_seed(seed))
    given = {"input_ids": ids, "position_ids": torch.arange(length)[None]}
    return Sample(given, torch.arange(length) > 0)


@pytest.fixture
def model(llama):
    gm = parse(llama)
    weights = Weights(gm)
    return gm, weights, Captured(gm, weights, [sample(), sample(7, 2)])


def points(gm, *kinds):
    return [point for point in fold_points(gm)[0] if point.kind in kinds]


def test_each_linear_is_judged_by_what_follows_it(llama):
    gm = parse(llama)
    found = [(p.kind, [(op(c.judge), len(c.linears), len(c.between)) for c in cones(p.consumers)])
             for p in fold_points(gm)[0]]  # fmt: skip
    assert found == [
        ("norm", [("edgeq.attention", 3, 3)]),  # two ropes and the attention
        ("value", [("aten.linear", 1, 0)]),
        ("norm", [("edgeq.gated", 2, 1)]),
        ("gated", [("aten.linear", 1, 0)]),
    ]
    attention = cones(points(gm, "norm")[0].consumers)[0]
    assert [node.name for node in attention.outside] == ["position_ids"]
    assert not attention.by_rows


def test_without_quantization_a_scale_and_a_shift_change_nothing(model):
    gm, weights, captured = model
    for point in fold_points(gm)[0]:
        objective = Objective(point, captured, weights, QuantSpec(32))
        width = point.channels // point.repeat
        scale = torch.rand(width, generator=torch.Generator().manual_seed(3)) * 3 + 0.5
        shift = None if point.no_shift else torch.randn(width, generator=torch.Generator().manual_seed(4))
        assert objective.error() == 0
        assert 0 < objective.error(scale, shift) < 1e-10


def test_it_is_the_error_of_the_rewritten_graph(model):
    """The attention's error, measured by running the folded graph with quantized weights and activations."""
    gm, weights, captured = model
    point = points(gm, "norm")[0]
    scale = captured.rows(point.activation)[0].abs().amax(0).clamp(min=0.1).sqrt()
    measured = Objective(point, captured, weights, W8A8).error(scale)
    judge = cones(point.consumers)[0].judge
    before = torch.cat(captured.rows(judge))
    fold(gm, point, scale)
    quantized = Rounded(gm, weights, point.consumers)
    after = torch.cat(quantized.rows(captured.samples, judge))
    expected = ((after - before).square().sum() / before.square().sum()).item()
    assert measured == pytest.approx(expected, rel=1e-4)


class Rounded:
    """The graph with some linears on quantized weights and activations."""

    def __init__(self, gm, weights, linears):
        self.gm, self.weights, self.linears = gm, weights, linears

    def rows(self, samples, judge):
        return [self._run(s)[judge].flatten(0, -2)[s.counted] for s in samples]

    def _run(self, sample):
        known = {node: sample.inputs[name] for name, node in inputs(self.gm).items()}
        for node in self.gm.graph.nodes:
            if node in self.linears:
                w = W8A8.weight(weight_value(node.args[1], self.weights))
                known[node] = torch.nn.functional.linear(W8A8.activation(known[node.args[0]]), w)
            elif node.op == "call_function" and not is_weight(node):
                known[node] = call(node, lambda n: known[n] if n in known else weight_value(n, self.weights))
        return known


def test_taming_an_outlier_lowers_the_error(model):
    gm, weights, captured = model
    for point in points(gm, "norm"):
        objective = Objective(point, captured, weights, W8A8)
        scale = torch.cat(captured.rows(point.activation)).abs().amax(0).sqrt()
        assert objective.error(scale) < 0.5 * objective.error()


def test_rows_are_left_out_only_where_they_do_not_mix(model):
    gm, weights, captured = model
    one, whole = (Objective(points(gm, "norm")[i], captured, weights, W8A8, tokens=4) for i in (1, 0))
    assert [len(part.target) for part in one._parts] == [4]
    assert [len(part.target) for part in whole._parts] == [11]  # the first sample without its first token
    assert one.error() > 0 and whole.error() > 0


def test_what_another_block_made_is_not_needed(model):
    """Where the attention's other inputs are not there, the linears' own outputs are compared."""
    gm, weights, captured = model
    point = points(gm, "norm")[0]
    query = point.consumers[0]
    alone = type(point)(point.kind, point.activation, point.producer, (query,), key=point.key)
    outside = wanted_by(alone) - {point.activation}
    assert {node.name for node in outside} == {"rope_1", "v"}
    assert Objective(alone, captured, weights, W8A8).judges == [cones((query,))[0].judge]

    class Less(Captured):
        def __init__(self):
            self.samples, self._all = captured.samples, captured._all

        def __contains__(self, node):
            return node not in outside

    assert Objective(alone, Less(), weights, W8A8).judges == [query]


@pytest.mark.parametrize("count", [1, 2, 9, 20])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_least_error_is_found_with_fewer_candidates(count, stride):
    for lowest in range(count):
        tried = []

        def error(i, lowest=lowest, tried=tried):
            tried.append(i)
            return (i - lowest) ** 2

        assert least(error, count, stride) == (lowest, 0)
        assert len(tried) == len(set(tried))
        assert stride == 1 or len(tried) <= count / stride + 2 * stride + 1
    assert least(lambda i: 1.0, count, stride)[0] == 0
