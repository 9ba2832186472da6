"""Values of nodes: weight expressions evaluated when they are needed, calls run on real tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, fx


class Reads(Protocol):
    """Named tensors of a checkpoint."""

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """The tensor, or a range of its first axis; floating point as float32."""


def weight_value(node: fx.Node, weights: Reads) -> Tensor:
    """The value of a weight expression, float32 (integers keep their type); tables come from the graph's module."""
    if node.op == "get_attr":
        table = _held(node)
        return weights.read(str(node.target)) if table is None else table
    return call(node, lambda source: weight_value(source, weights))


def call(node: fx.Node, find: Callable[[fx.Node], Any]) -> Any:
    """Run a call on what `find` gives for its input nodes."""
    args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), find)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _held(node: fx.Node) -> Tensor | None:
    """A real tensor that the graph's module holds (computed tables), None for checkpoint weights."""
    found: Any = node.graph.owning_module
    for part in str(node.target).split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, Tensor) and found.device.type != "meta" else None


def last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """Node -> calls whose values nothing needs after it."""
    last: dict[fx.Node, fx.Node] = {}
    for node in graph.nodes:
        last.update(dict.fromkeys(node.all_input_nodes, node))
    ends: dict[fx.Node, list[fx.Node]] = {}
    for used, user in last.items():
        if used.op == "call_function" and user.op != "output":
            ends.setdefault(user, []).append(used)
    return ends
