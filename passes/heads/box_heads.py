"""Where boxes come from: the linears of box heads, and what they compute up to the outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.ir.graph import arguments, calls, is_weight, op, output, site, value
from edgeq.ir.values import Reads, call, weight_value

STOPS = ("edgeq.attention", "aten.layer_norm", "edgeq.rms_norm", "edgeq.im2col")


def box_outputs(gm: fx.GraphModule) -> list[fx.Node]:
    """Outputs that hold boxes: floats `[..., queries, 4]`."""
    found = [node for node in output(gm).all_input_nodes if isinstance(value(node), Tensor)]
    return [n for n in found if value(n).dtype.is_floating_point and value(n).dim() > 1 and value(n).shape[-1] == 4]


def head_linears(gm: fx.GraphModule, modules: str = "") -> list[fx.Node]:
    """In the graph's order: linears in a row before a box output, or those whose module matches `modules`.

    modules: patterns joined by `+`; "" means by structure: from an output `[..., 4]` back through linears and what has
    one computed input, up to a norm, an attention or a sum.
    """
    linears = [node for node in calls(gm, "aten.linear") if not is_weight(node)]
    if modules:
        return [n for n in linears if any(fnmatchcase(site(n), pattern) for pattern in modules.split("+"))]
    chained = {node for end in box_outputs(gm) for node in _chain(end)}
    return [node for node in linears if node in chained]


def _chain(node: fx.Node) -> set[fx.Node]:
    found: set[fx.Node] = set()
    while node.op == "call_function" and op(node) not in STOPS:
        sources = [n for n in node.all_input_nodes if not is_weight(n)]
        if len(sources) != 1:
            break
        found.add(node)
        node = sources[0]
    return found


@dataclass(frozen=True)
class Head:
    """What linears compute up to outputs: `nodes` in order, `boxes` among them; `classes`: an output of equal rows.

    `outside`: computed values that are read but not part of it.
    """

    linears: tuple[fx.Node, ...]
    nodes: tuple[fx.Node, ...]
    boxes: fx.Node
    classes: fx.Node

    @property
    def outside(self) -> set[fx.Node]:
        """Computed nodes to capture: what the head reads, and classes that it does not compute."""
        read = {source for node in self.nodes for source in node.all_input_nodes} | {self.classes}
        return {n for n in read - set(self.nodes) if n.op == "call_function" and not is_weight(n)}

    def run(self, known: Mapping[fx.Node, Tensor], given: Mapping[str, Tensor], weights: Reads,
            replaced: Mapping[fx.Node, Tensor]) -> tuple[Tensor, Tensor]:  # fmt: skip
        """(boxes, classes) of a sample.

        Args:
            known: values of `outside`. given: the graph's inputs by name. replaced: linear -> the weight to use.
        """
        env: dict[fx.Node, Any] = dict(known)

        def find(node: fx.Node) -> Any:
            if node not in env:
                env[node] = given[str(node.target)] if node.op == "placeholder" else weight_value(node, weights)
            return env[node]

        for node in self.nodes:
            if node in replaced:
                bias = arguments(node)["bias"]
                x = find(node.args[0])  # type: ignore[arg-type]
                env[node] = torch.nn.functional.linear(x, replaced[node], None if bias is None else find(bias))
            else:
                env[node] = call(node, find)
        return env[self.boxes], env[self.classes]


def head_of(gm: fx.GraphModule, linears: Sequence[fx.Node]) -> Head | None:
    """What the linears reach, None where that is no output of boxes with classes beside it."""
    reached: dict[fx.Node, None] = {}
    for node in gm.graph.nodes:
        if node in linears or (node.op == "call_function" and any(n in reached for n in node.all_input_nodes)):
            reached[node] = None
    boxes = next((node for node in box_outputs(gm) if node in reached), None)
    if boxes is None:
        return None
    classes = next((node for node in output(gm).all_input_nodes if node is not boxes and _beside(node, boxes)), None)
    return None if classes is None else Head(tuple(linears), tuple(reached), boxes, classes)


def _beside(node: fx.Node, boxes: fx.Node) -> bool:
    held = value(node)
    if not isinstance(held, Tensor) or not held.dtype.is_floating_point or node.op != "call_function":
        return False
    return held.shape[:-1] == value(boxes).shape[:-1] and _is_linear(node)


def _is_linear(node: fx.Node) -> bool:
    """Whether a linear makes it, perhaps reshaped: classes, and not the states that both heads read."""
    while node.op == "call_function" and op(node) in ("aten.reshape", "aten.view", "aten.clone", "aten.select"):
        node = node.args[0]  # type: ignore[assignment]
    return op(node) == "aten.linear"
