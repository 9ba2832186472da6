"""Weight expressions: rows equal the whole, and only what is needed is read."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn

from edgeq.errors import VerifyError
from edgeq.frontend.export import set_tensor
from edgeq.frontend.expression import evaluate
from edgeq.ir.graph import insert

STORED = {"a": torch.arange(48.0).reshape(12, 4), "b": -torch.arange(32.0).reshape(8, 4), "v": torch.ones(4)}
STORED |= {"image": torch.arange(72.0).reshape(12, 2, 3, 1), "s": torch.arange(1.0, 13.0)}
STORED |= {"limits": torch.arange(96.0).reshape(12, 8).flip(0)}
aten = torch.ops.aten


class Recorder:
    """Weights that remember how many rows were read."""

    def __init__(self) -> None:
        self.rows = 0

    def read(self, name: str, rows: slice | None = None) -> torch.Tensor:
        part = STORED[name] if rows is None else STORED[name][rows]
        self.rows += len(part)
        return part.clone()


def build() -> tuple[fx.Graph, dict[str, fx.Node]]:
    """A graph holding STORED as meta tensors and an index buffer as a real one."""
    root, graph = nn.Module(), fx.Graph()
    mode = torch._subclasses.FakeTensorMode()
    nodes = {}
    for name, tensor in {**STORED, "order": torch.tensor([7, 3, 5, 4])}.items():
        set_tensor(root, name, tensor if name == "order" else tensor.to("meta"))
        nodes[name] = graph.get_attr(name)
        with mode:
            nodes[name].meta["val"] = torch.empty(tensor.shape, dtype=tensor.dtype)
    graph.output(None)
    fx.GraphModule(root, graph)
    return graph, nodes


def expression(kind: str) -> tuple[fx.Node, torch.Tensor]:
    """A node and its value in plain torch."""
    graph, node = build()
    a, b, order = STORED["a"], STORED["b"], torch.tensor([7, 3, 5, 4])
    with graph.inserting_before(next(n for n in graph.nodes if n.op == "output")):
        make = {
            "weight": lambda: (node["a"], a),
            "slice": lambda: (insert(graph, "aten.slice.Tensor", node["a"], 0, 3, 9), a[3:9]),
            "columns": lambda: (insert(graph, "aten.slice.Tensor", node["a"], 1, 1, 3), a[:, 1:3]),
            "t": lambda: (insert(graph, "aten.t", node["b"]), b.t()),
            "index": lambda: (insert(graph, "aten.index_select", node["a"], 0, node["order"]), a[order]),
            "cat": lambda: (insert(graph, "aten.cat", [node["a"], node["b"]]), torch.cat([a, b])),
            "scaled": lambda: (insert(graph, "aten.mul.Tensor", node["a"], 0.5), a * 0.5),
            "by_column": lambda: (insert(graph, "aten.mul.Tensor", node["a"], node["v"]), a * STORED["v"]),
            "clipped": lambda: (clipped(graph, node["a"], node["limits"], node["order"]), clipped_value()),
            "convolution": lambda: (convolution(graph, node["image"], node["s"]), convolved()),
            "nested": lambda: (nested(graph, node["a"], node["b"]), -torch.cat([b, a])[6:]),
        }  # fmt: skip
        return make[kind]()


def nested(graph: fx.Graph, a: fx.Node, b: fx.Node) -> fx.Node:
    """-cat([b, a])[6:20]"""
    joined = insert(graph, "aten.cat", [b, a])
    return insert(graph, "aten.neg", insert(graph, "aten.slice.Tensor", joined, 0, 6, 20))


def convolution(graph: fx.Graph, image: fx.Node, s: fx.Node) -> fx.Node:
    """A convolution's weight as rows, scaled as batch norm does."""
    rows = insert(graph, "aten.reshape", insert(graph, "aten.permute", image, [0, 2, 3, 1]), [12, 6])
    scale = insert(graph, "aten.reshape", insert(graph, "aten.rsqrt", s), [12, 1])
    return insert(graph, "aten.mul.Tensor", rows, scale)


def clipped(graph: fx.Graph, a: fx.Node, limits: fx.Node, order: fx.Node) -> fx.Node:
    """No more than a limit of each group of columns, no less than 3."""
    wide = insert(graph, "aten.index_select", limits, 1, order)
    return insert(graph, "aten.clamp", insert(graph, "aten.minimum", a, wide), 3.0)


def clipped_value() -> torch.Tensor:
    return torch.minimum(STORED["a"], STORED["limits"][:, [7, 3, 5, 4]]).clamp(3.0)


def convolved() -> torch.Tensor:
    return STORED["image"].permute(0, 2, 3, 1).reshape(12, 6) * STORED["s"].rsqrt()[:, None]


KINDS = ("weight", "slice", "columns", "t", "index", "cat", "scaled", "by_column", "convolution", "nested", "clipped")


@pytest.mark.parametrize("kind", KINDS)
def test_whole_value(kind: str) -> None:
    node, want = expression(kind)
    torch.testing.assert_close(evaluate(node, Recorder()), want)


@settings(deadline=None, max_examples=60)
@given(kind=st.sampled_from(KINDS), low=st.integers(0, 20), size=st.integers(0, 20))
def test_rows_are_rows_of_the_whole(kind: str, low: int, size: int) -> None:
    node, want = expression(kind)
    torch.testing.assert_close(evaluate(node, Recorder(), slice(low, low + size)), want[low : low + size])


READ = {"weight": 2, "slice": 2, "cat": 2, "scaled": 2, "nested": 2, "index": 5, "by_column": 6, "convolution": 4}
READ |= {"clipped": 4}


@pytest.mark.parametrize(("kind", "most"), READ.items())
def test_only_the_rows_asked_for_are_read(kind: str, most: int) -> None:
    node, _ = expression(kind)
    weights = Recorder()
    evaluate(node, weights, slice(1, 3))
    assert 0 < weights.rows <= most


def test_activations_are_no_weights() -> None:
    graph = fx.Graph()
    with pytest.raises(VerifyError, match="is not an expression"):
        evaluate(graph.placeholder("x"), Recorder())
