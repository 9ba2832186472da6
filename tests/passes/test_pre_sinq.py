from __future__ import annotations

import pytest
import torch
from float64 import NAMES, float64_equal

from edgeq.errors import UsageError
from edgeq.ir.graph import calls, value
from edgeq.ir.text import parse
from edgeq.ir.values import weight_value
from edgeq.ir.verify import verify
from edgeq.passes.folds.fold_points import fold_points
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import make
from edgeq.passes.pre_sinq import clusters, column_factors, imbalance
from edgeq.quant.simulate import fake_weight


class Weights:
    """Seeded tensors; every sixteenth column (or entry) is twenty times the others."""

    def __init__(self, gm, flat=False):
        generator = torch.Generator().manual_seed(0)
        self.tensors = {}
        for node in gm.graph.nodes:
            if node.op == "get_attr":
                tensor = torch.randn(value(node).shape, generator=generator)
                if flat:
                    tensor = 1 - 2 * (sum(torch.meshgrid(*map(torch.arange, tensor.shape), indexing="ij")) % 2).float()
                else:
                    tensor[..., ::16] *= 20
                self.tensors[node.target] = tensor

    def read(self, name, rows=None):
        return self.tensors[name] if rows is None else self.tensors[name][rows]


@pytest.mark.parametrize("columns", [128, 130, 65])
@pytest.mark.parametrize("group", [64, 0])
def test_imbalance_falls_and_columns_get_one_spread(columns, group):
    weight = torch.randn(96, columns, generator=torch.Generator().manual_seed(1))
    weight = weight * torch.linspace(0.1, 8, columns) * torch.linspace(0.2, 3, 96)[:, None]
    factors = column_factors(weight, 16, group)
    assert factors.shape == (columns,) and (factors > 0).all()
    assert imbalance(weight / factors, group) < 0.2 * imbalance(weight, group)
    assert all(part.median() == 1 for part in factors.split(group or columns))


def test_even_columns_and_columns_of_zeros_stay():
    weight = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8)
    assert torch.equal(column_factors(weight), torch.ones(16))
    assert torch.equal(column_factors(torch.zeros(8, 16)), torch.ones(16))
    assert torch.isfinite(column_factors(torch.randn(1, 5))).all()


def test_folds_where_columns_differ(llama, lines):
    gm = parse(llama)
    weights = Weights(gm)
    report = make("pre-sinq")(gm, Context(weights))
    verify(gm, types=True)
    assert [site.module for site in report.changed] == [
        "model.layers.0.input_layernorm", "model.layers.0.self_attn",
        "model.layers.0.post_attention_layernorm", "model.layers.0.mlp",
    ]  # fmt: skip
    assert [site.module for site in report.declined] == ["model.norm"]
    for site in report.changed:
        before, after = (float(x) for x in site.what.split("imbalance ")[1].split(" -> "))
        assert after < 0.5 * before


def test_errors_of_four_bits_fall(llama):
    gm = parse(llama)
    weights = Weights(gm)
    columns = {n.name: _relative_error(n, weights) for n in calls(gm, "aten.linear")}
    make("pre-sinq")(gm, Context(weights))
    after = {n.name: _relative_error(n, weights) for n in calls(gm, "aten.linear")}
    assert all(after[name] < 0.6 * columns[name] for name in ("q", "k", "gate", "o", "down"))
    assert after["logits"] == columns["logits"]


def _relative_error(linear, weights):
    """Mean over columns of their 4-bit error over their spread: small columns beside large ones lose most."""
    w = weight_value(linear.args[1], weights)
    return ((w - fake_weight(w, 4, 64)).square().mean(0) / w.square().mean(0)).mean().item()


def test_even_weights_leave_the_graph_alone(llama):
    gm = parse(llama)
    before = [node.name for node in gm.graph.nodes]
    flat = Weights(gm, flat=True)
    report = make("pre-sinq")(gm, Context(flat))
    assert [node.name for node in gm.graph.nodes] == before
    assert len(report.changed) == 4


def test_points_that_share_a_linear_are_solved_together(llama):
    points, _ = fold_points(parse(llama))
    assert [[point.kind for point in cluster] for cluster in clusters(points)] == [["norm", "value"], ["norm", "gated"]]


def test_another_entry_takes_the_same_scales(llama):
    first, second = parse(llama), parse(llama)
    context = Context(Weights(first))
    make("pre-sinq")(first, context)
    context.weights.tensors = {name: torch.zeros_like(t) for name, t in context.weights.tensors.items()}
    make("pre-sinq")(second, context)
    tables = [{n: t for n, t in gm.named_buffers() if n.startswith("fold")} for gm in (first, second)]
    assert tables[0].keys() == tables[1].keys() and len(tables[0]) > 3
    assert all(torch.equal(tables[0][name], tables[1][name]) for name in tables[0])


def test_what_cannot_be_done_is_said(llama):
    with pytest.raises(UsageError, match="needs a model"):
        make("pre-sinq")(parse(llama))
    with pytest.raises(UsageError, match="iterations and rounds are positive"):
        make("pre-sinq", "rounds=0")


@pytest.mark.parametrize("name", NAMES)
def test_equal_in_float64(name):
    reports = float64_equal(name, "pre-sinq")
    assert sum(len(report.changed) for report in reports) > 0
