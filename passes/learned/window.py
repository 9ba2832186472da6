"""Consecutive blocks of a graph, run under autograd by the ops' own reference semantics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.calibrate.blocks import Block
from edgeq.calibrate.samples import Sample
from edgeq.ir.graph import arguments, is_weight, op, value
from edgeq.ir.values import call, weight_value

Values = dict[fx.Node, Any]
Linear = Callable[[fx.Node, Tensor, Tensor], Tensor]  # (the node, its input, its float weight) -> product without bias
Ranged = Callable[[fx.Node, Tensor], Tensor]  # (a fake_quant node, its input) -> its output


class Window:
    """What several blocks compute of the activations that reach them.

    Args:
        blocks: consecutive ones. weights: reads stored tensors by name; those of the window are read once, now.
        device: where it runs.

    Attributes:
        linears: `aten.linear` nodes, in order. ranges: `edgeq.fake_quant` nodes.
        outputs: float activations that later blocks read, or the graph returns.
    """

    def __init__(self, blocks: Sequence[Block], weights: Any, device: torch.device) -> None:
        self.device = device
        self._nodes = [node for block in blocks for node in block.nodes]
        inside = set(self._nodes)
        self.linears = [node for node in self._nodes if op(node) == "aten.linear"]
        self.ranges = [node for node in self._nodes if op(node) == "edgeq.fake_quant"]
        self.outputs = [n for n in self._nodes if _is_float(n) and any(user not in inside for user in n.users)]
        read = {source for node in self._nodes for source in node.all_input_nodes if is_weight(source)}
        self._weights = {node: weight_value(node, weights).to(device) for node in read}

    def run(
        self, sample: Sample, given: Values, linear: Linear | None = None, ranged: Ranged | None = None
    ) -> dict[fx.Node, Tensor]:
        """Values of `outputs` on one sample.

        Args:
            given: activations of earlier blocks, on any device.
            linear, ranged: compute linears and static ranges; None: in float, static ranges quantize nothing.
        """
        known: Values = {}

        def find(node: fx.Node) -> Any:
            if is_weight(node):
                return self._weights[node]
            if node in known:
                return known[node]
            found = sample.inputs[str(node.target)] if node.op == "placeholder" else given[node]
            return found.to(self.device) if isinstance(found, Tensor) else found

        for node in self._nodes:
            if linear is not None and op(node) == "aten.linear":
                known[node] = _linear(node, find, linear)
            elif op(node) == "edgeq.fake_quant":
                x = find(arguments(node)["x"])
                known[node] = x if ranged is None else ranged(node, x)
            else:
                known[node] = call(node, find)
        return {node: known[node] for node in self.outputs}

    def value(self, weight: fx.Node) -> Tensor:
        """A weight that the window's nodes read."""
        return self._weights[weight]

    def weight(self, linear: fx.Node) -> Tensor:
        """The float weight `[N, K]` of a linear."""
        return self._weights[arguments(linear)["weight"]]


def _linear(node: fx.Node, find: Callable[[fx.Node], Any], linear: Linear) -> Tensor:
    given = arguments(node)
    product = linear(node, find(given["input"]), find(given["weight"]))
    return product if given["bias"] is None else product + find(given["bias"])


def _is_float(node: fx.Node) -> bool:
    held = value(node)
    return isinstance(held, Tensor) and held.is_floating_point()
