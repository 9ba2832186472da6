"""A graph as the model that the metrics take: float, or quantized to formats that need not have a kernel.

Every weight expression is evaluated once and held once, a quantized one as the values f32 `[N, K]` that its codes stand
for; activations are rounded to their steps and multiplied in float. So a window costs what its products cost in float,
and gives an artifact's values up to how sums are rounded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx
from torch.nn.functional import linear

from edgeq.errors import UsageError
from edgeq.evaluate.windows import Logits
from edgeq.ir.graph import arguments, calls, inputs, is_weight, op, output
from edgeq.ir.values import Reads, call, last_uses, weight_value
from edgeq.passes.last_row import ROW_WISE
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize
from edgeq.quant.simulate import fake_tensor, fake_tokens

ACT = re.compile(r"a(\d+)(s?)")
HEADS = ("aten.linear", "edgeq.qlinear")


class GraphModel:
    """Runs an uncached graph on one input after another, in float or simulated.

    Args:
        gm: a token or static graph, not rewritten afterwards. weights: reads stored tensors by name.
        ranges: how groups of up to 4 bits get their scale where the graph does not say (`edgeq.quant.ranges`).

    Raises:
        UsageError: the graph has caches.
    """

    def __init__(self, gm: fx.GraphModule, weights: Reads, ranges: str = "minmax") -> None:
        if calls(gm, "edgeq.cached_attention"):
            raise UsageError("graphs are scored without caches: score it before add-cache")
        self._gm, self._weights, self._ranges = gm, weights, ranges
        self._held: dict[tuple[str, ...], Tensor] = {}
        self._last_use = last_uses(gm.graph)
        self._head = head_of(gm)

    @torch.no_grad()  # not inference_mode: quantizers work in threads of their own
    def run(self, given: Mapping[str, Tensor], first: int = 0) -> list[Tensor]:
        """Outputs, in the graph's order; of a language model only rows `first`.. go through the output head.

        given: inputs by placeholder name; UsageError when one is missing.
        """
        self._check(given)
        known: dict[fx.Node, Any] = {}
        for node in self._gm.graph.nodes:
            if node.op == "placeholder":
                known[node] = given.get(str(node.target))
            elif node.op == "call_function" and not is_weight(node):
                known[node] = self._value(node, known, first if node is self._head else 0)
                for used in self._last_use.get(node, ()):
                    known.pop(used, None)
        return [self._find(node, known) for node in output(self._gm).all_input_nodes]

    def _check(self, given: Mapping[str, Tensor]) -> None:
        missing = [name for name, node in inputs(self._gm).items() if node.users and name not in given]
        if missing:
            raise UsageError(f"the graph also takes {', '.join(missing)}")

    def _value(self, node: fx.Node, known: dict[fx.Node, Any], first: int) -> Any:
        if op(node) == "edgeq.qembedding":
            named = arguments(node)
            return self._on_grid(named["w"], None, None, named["weight"])[known[named["ids"]]]
        if op(node) == "edgeq.qlinear":
            return self._linear(node, known, first)
        if first and self._head is not None and node is self._head:
            x = node.args[0]
            return call(node, lambda n: self._find(n, known)[..., first:, :] if n is x else self._find(n, known))
        return call(node, lambda source: self._find(source, known))

    def _find(self, node: fx.Node, known: dict[fx.Node, Any]) -> Any:
        return self._weight(node) if is_weight(node) else known[node]

    def _linear(self, node: fx.Node, known: dict[fx.Node, Any], first: int) -> Tensor:
        named = arguments(node)
        w = self._on_grid(named["w"], named.get("w_scale"), named.get("w_zero"), named["weight"])
        scale = None if named["x_scale"] is None else self._weight(named["x_scale"])
        x = rounded(known[named["x"]][..., first:, :].float(), named["act"], scale)
        return linear(x, w, None if named["bias"] is None else self._weight(named["bias"]).float())

    def _weight(self, node: fx.Node) -> Tensor:
        key = (_name(node),)
        if key not in self._held:
            self._held[key] = weight_value(node, self._weights)
        return self._held[key]

    def _on_grid(self, w: fx.Node, scale: fx.Node | None, zero: fx.Node | None, weight: str) -> Tensor:
        """f32 `[N, K]`; what it is made of is not kept."""
        key = (_name(w), _name(scale), weight)
        if key not in self._held:
            read = [None if node is None else weight_value(node, self._weights) for node in (w, scale, zero)]
            self._held[key] = _values(read, WeightFormat.parse(weight), self._ranges)
        return self._held[key]


def graph_logits(gm: fx.GraphModule, weights: Reads, ranges: str = "minmax") -> Logits:
    """`Logits` of a language model's uncached token graph, before or after `quantize`; only rows that count.

    Args, errors: as `GraphModel`; UsageError when it is no graph of tokens with one output.
    """
    if set(inputs(gm)) - {"input_ids", "position_ids"} or len(output(gm).all_input_nodes) != 1:
        raise UsageError(f"a language model's graph takes input_ids and position_ids; this one {', '.join(inputs(gm))}")
    model = GraphModel(gm, weights, ranges)

    def logits(tokens: list[int]) -> NDArray[np.floating]:
        count = len(tokens)
        given = {"input_ids": torch.tensor([tokens]), "position_ids": torch.arange(count)[None]}
        return model.run(given, count // 2)[0][0, -(count - count // 2) :].float().numpy()

    return logits


def head_of(gm: fx.GraphModule) -> fx.Node | None:
    """The linear that makes the one output `[B, S, C]`, seen through what works row by row; None if there is none."""
    ends = output(gm).all_input_nodes
    node = ends[0] if len(ends) == 1 else None
    while isinstance(node, fx.Node) and op(node) not in HEADS:
        sources = [source for source in node.all_input_nodes if not is_weight(source)]
        node = sources[0] if op(node) in ROW_WISE and len(sources) == 1 else None
    return node


def rounded(x: Tensor, act: str, scale: Tensor | None = None) -> Tensor:
    """x `[..., K]` as a linear with activations `act` (`a16`, `a8`, `a8s`, `a4`) reads it."""
    match = ACT.fullmatch(act)
    if match is None:
        raise UsageError(f"activations {act!r} are not known; known: a16, and a8, a4 with s for a static scale")
    bits = int(match[1])
    if bits >= 16:
        return x
    return fake_tokens(x, bits) if scale is None else fake_tensor(x, bits, scale)


def _values(read: list[Tensor | None], fmt: WeightFormat, ranges: str) -> Tensor:
    w, scale, zero = read
    assert w is not None
    if scale is None:
        stored = quantize(w, fmt, ranges if fmt.bits <= 4 else "minmax")
    else:
        stored = w.numpy(), scale.half().numpy(), None if zero is None else zero.numpy()
    return torch.from_numpy(dequantize(*stored, fmt))


def _name(node: fx.Node | None) -> str:
    """Equal for nodes of one stored tensor."""
    if node is None:
        return ""
    return str(node.target) if node.op == "get_attr" else f"%{node.name}"
