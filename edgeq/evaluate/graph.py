"""A graph as the model that the metrics take: float, or quantized to formats that need not have a kernel.

Every weight expression is evaluated once and held once, a quantized one as the values f32 `[N, K]` that its codes stand
for; activations are rounded to their steps and multiplied in float. So a window costs what its products cost in float,
and gives an artifact's values up to how sums are rounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx
from torch.nn.functional import linear, pad

from edgeq.errors import UsageError
from edgeq.evaluate.windows import Logits
from edgeq.ir.graph import arguments, calls, inputs, is_weight, needed_for, op, output
from edgeq.ir.ops.grid import grid
from edgeq.ir.ops.signs import sign_tokens
from edgeq.ir.values import Reads, call, last_uses, weight_value
from edgeq.passes.last_row import ROW_WISE
from edgeq.quant.format import K_MULTIPLE, WeightFormat
from edgeq.quant.quantizer import dequantize, quantize
from edgeq.quant.simulate import fake_tensor, fake_tokens

ACT = re.compile(r"a(\d+)(s?)")
HEADS = ("aten.linear", "edgeq.qlinear")
EVERY_ROW = slice(None)


class GraphModel:
    """Runs an uncached graph on one input after another, in float or simulated.

    Args:
        gm: a token or static graph, not rewritten afterwards. weights: reads stored tensors by name.
        ranges: how groups of up to 4 bits get their scale where the graph does not say (`edgeq.quant.ranges`).
        wanted: activations that `run` returns; None: the graph's outputs.

    Attributes:
        nodes: activations that the wanted ones need, in order. head: the output head, see `head_of`.

    Raises:
        UsageError: the graph has caches.
    """

    def __init__(
        self, gm: fx.GraphModule, weights: Reads, ranges: str = "minmax", wanted: Sequence[fx.Node] | None = None
    ) -> None:
        if calls(gm, "edgeq.cached_attention"):
            raise UsageError("graphs are scored without caches: score it before add-cache")
        self._weights, self._ranges = weights, ranges
        self._held: dict[tuple[str, ...], Tensor] = {}
        self.wanted = list(output(gm).all_input_nodes if wanted is None else wanted)
        needed = needed_for(self.wanted)
        self.nodes = [node for node in gm.graph.nodes if node in needed and node.op == "call_function"]
        self._inputs = [node for node in needed if node.op == "placeholder"]
        self._ends = last_uses(gm.graph)
        self.head = head_of(gm)

    @torch.no_grad()  # not inference_mode: quantizers work in threads of their own
    def run(self, given: Mapping[str, Tensor], rows: slice = EVERY_ROW) -> list[Tensor]:
        """Wanted values; of a language model only those rows go through the output head.

        given: inputs by placeholder name; UsageError when one is missing.
        """
        known = self.given(given)
        self.walk(self.nodes, known, lambda node: self.value(node, known, rows))
        return [self.find(node, known) for node in self.wanted]

    def given(self, given: Mapping[str, Tensor]) -> dict[fx.Node, Any]:
        """The inputs that are needed, by placeholder; UsageError when one is missing."""
        if missing := [str(node.target) for node in self._inputs if str(node.target) not in given]:
            raise UsageError(f"the graph also takes {', '.join(missing)}")
        return {node: given[str(node.target)] for node in self._inputs}

    def walk(self, nodes: Sequence[fx.Node], known: dict[fx.Node, Any], value: Callable[[fx.Node], Any]) -> None:
        """Put the values of consecutive nodes into `known`, which loses what only they read (but not the wanted)."""
        for node in nodes:
            known[node] = value(node)
            for used in self._ends.get(node, ()):
                if used not in self.wanted:
                    known.pop(used, None)

    def value(self, node: fx.Node, known: Mapping[fx.Node, Any], rows: slice = EVERY_ROW) -> Any:
        """What a node computes of `known` values; the output head, of those rows alone."""
        if op(node) == "edgeq.qembedding":
            named = arguments(node)
            tables = self._on_grid(named["w"], named["w_scale"], named["w_zero"], named["weight"])
            return tables[known[named["ids"]]]
        cut = rows if node is self.head else EVERY_ROW
        if op(node) == "edgeq.qlinear":
            return self._linear(node, known, cut)
        if cut is not EVERY_ROW:  # of a head, which reads one activation
            return call(node, lambda n: self.weight(n) if is_weight(n) else known[n][..., cut, :])
        return call(node, lambda source: self.find(source, known))

    def find(self, node: fx.Node, known: Mapping[fx.Node, Any]) -> Any:
        """The value of an activation or a weight."""
        return self.weight(node) if is_weight(node) else known[node]

    def weight(self, node: fx.Node) -> Tensor:
        """The value of a weight expression, held from now on."""
        key = (_name(node),)
        if key not in self._held:
            self._held[key] = weight_value(node, self._weights)
        return self._held[key]

    def forget(self) -> None:
        """Hold no weights any more; they are read again when they are needed."""
        self._held.clear()

    def _linear(self, node: fx.Node, known: Mapping[fx.Node, Any], rows: slice) -> Tensor:
        named = arguments(node)
        w = self._on_grid(named["w"], named.get("w_scale"), named.get("w_zero"), named["weight"])
        scale = None if named["x_scale"] is None else self.weight(named["x_scale"])
        x = rounded(known[named["x"]][..., rows, :].float(), named["act"], scale)
        return linear(x, w, None if named["bias"] is None else self.weight(named["bias"]).float())

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
        return model.run(given, slice(count // 2, None))[0][0, -(count - count // 2) :].float().numpy()

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
    """x `[..., K]` as a linear with activations `act` (`a16`, `a8`, `a8s`, `a4`, `a1`) reads it."""
    match = ACT.fullmatch(act)
    if match is None:
        raise UsageError(f"activations {act!r} are not known; known: a16, and a8, a4 with s for a static scale")
    bits = int(match[1])
    if bits >= 16:
        return x
    if bits == 1:
        signs, mean = sign_tokens(x)
        return signs * mean[..., None]
    return fake_tokens(x, bits) if scale is None else fake_tensor(x, bits, scale)


def _values(read: list[Tensor | None], fmt: WeightFormat, ranges: str) -> Tensor:
    w, scale, zero = read
    assert w is not None
    if scale is None:
        return on_grid(w, fmt, ranges)
    return grid(w, scale, zero, weight=str(fmt))


def on_grid(w: Tensor, fmt: WeightFormat, ranges: str = "minmax") -> Tensor:
    """f32 `[N, K]`: w as packing stores it, rounded to nearest; any width, as zero columns fill it up."""
    columns = w.shape[1]
    filled = pad(w, (0, -columns % K_MULTIPLE)) if columns % K_MULTIPLE else w
    stored = quantize(filled, fmt, ranges if fmt.bits <= 4 else "minmax")
    return torch.from_numpy(dequantize(*stored, fmt))[:, :columns].contiguous()


def _name(node: fx.Node | None) -> str:
    """Equal for nodes of one stored tensor."""
    if node is None:
        return ""
    return str(node.target) if node.op == "get_attr" else f"%{node.name}"
