"""The reference executor: a cached, quantized graph run in torch with the integer arithmetic of the kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from edgeq.errors import ContextError, UsageError
from edgeq.ir.graph import arguments, calls, inputs, is_weight, op, value
from edgeq.ir.ops.matrix import Matrix, Stored, prepare, prepare_stored, product
from edgeq.ir.values import Reads, call, last_uses, weight_value

Observer = Callable[[fx.Node, Tensor], None]


class Reference:
    """Runs a decoder entry (after `add-cache` and `quantize`; sizes may be symbolic) over a growing text.

    Weights are read when an op first needs them; a quantized one is kept as codes and scales, never as floats.

    Args:
        gm: the graph; `last_row` is skipped, so that every row's logits come out.
        weights: where stored tensors are read by Hugging Face name.
        rows: tokens that one walk over the graph takes at most.
    """

    def __init__(self, gm: fx.GraphModule, weights: Reads, rows: int = 256) -> None:
        if not calls(gm, "edgeq.cached_attention"):
            raise UsageError("the reference executor runs cached graphs: run the pass add-cache first")
        self._gm, self._weights, self._rows = gm, weights, rows
        self._matrices: dict[tuple[fx.Node, str, str], Matrix] = {}
        self._stored: dict[fx.Node, Tensor] = {}
        self._last_use = last_uses(gm.graph)
        self.reset()

    def reset(self) -> None:
        """Forget the text."""
        caches = {name: node for name, node in inputs(self._gm).items() if "_cache_" in name}
        self._caches = {name: torch.zeros([int(size) for size in value(node).shape]) for name, node in caches.items()}
        self.context = min(cache.shape[2] for cache in self._caches.values())
        self.position = 0

    def forward(self, tokens: Sequence[int], observe: Observer | None = None) -> Tensor:
        """Append tokens; logits f32 `[len(tokens), vocab]` of every one.

        Args:
            tokens: ids that continue the text so far.
            observe: called with every computed node and its value, in order, once a walk.

        Raises:
            ContextError: more tokens than the caches hold.
        """
        if self.position + len(tokens) > self.context:
            raise ContextError(f"{self.position + len(tokens)} tokens; the caches hold {self.context}")
        parts = []
        for first in range(0, len(tokens), self._rows):
            part = list(tokens[first : first + self._rows])
            parts.append(self._walk(part, observe))
            self.position += len(part)
        return torch.cat(parts)

    def _walk(self, tokens: list[int], observe: Observer | None) -> Tensor:
        ids = torch.tensor([tokens])
        known: dict[fx.Node, Any] = {}
        given = {
            "input_ids": ids,
            "position_ids": torch.arange(self.position, self.position + len(tokens))[None],
            "start": torch.tensor([self.position]),
            "n_valid": torch.tensor([len(tokens)]),
            **self._caches,
        }
        with torch.no_grad():
            for node in self._gm.graph.nodes:
                if node.op == "output":
                    return fx.map_arg(node.args[0], known.__getitem__)[0]
                if is_weight(node):
                    continue
                known[node] = given[str(node.target)] if node.op == "placeholder" else self._call(node, known)
                if observe is not None and node.op == "call_function":
                    observe(node, known[node])
                for used in self._last_use.get(node, ()):
                    known.pop(used, None)
        raise UsageError("the graph has no output")

    def _call(self, node: fx.Node, known: dict[fx.Node, Any]) -> Any:
        name = op(node)
        if name == "edgeq.last_row":
            return known[arguments(node)["x"]]
        if name == "edgeq.qlinear":
            return self._linear(node, known)
        if name == "edgeq.qembedding":
            given = arguments(node)
            if given["w_scale"] is not None:
                stored = self._matrix(given["w"], given["weight"], "a16", given["w_scale"], given["w_zero"])
                return stored.rows(known[given["ids"]])
            return self._matrix(given["w"], given["weight"], "a8").rows(known[given["ids"]])
        return call(node, lambda source: known[source] if source in known else self._weight(source))

    def _linear(self, node: fx.Node, known: dict[fx.Node, Any]) -> Tensor:
        given = arguments(node)
        x = known[given["x"]]
        scale = None if given["x_scale"] is None else self._weight(given["x_scale"])
        tables = (given["w_scale"], given["w_zero"])
        matrix = self._matrix(given["w"], given["weight"], given["act"], *tables)
        y = product(matrix, x.reshape(-1, x.shape[-1]), scale)
        y = y if given["bias"] is None else y + self._weight(given["bias"])
        return y.reshape(*x.shape[:-1], -1)

    def _matrix(
        self, node: fx.Node, weight: str, act: str, scale: fx.Node | None = None, zero: fx.Node | None = None
    ) -> Matrix:
        """Prepared once; an embedding and a head that share a weight and a format share it prepared."""
        act = "a16" if weight in ("f16", "f32") else act.removesuffix("s")
        key = (node, weight, act)
        if key not in self._matrices:
            self._matrices[key] = self._prepare(node, weight, act, scale, zero)
        return self._matrices[key]

    def _prepare(
        self, node: fx.Node, weight: str, act: str, scale: fx.Node | None, zero: fx.Node | None
    ) -> Matrix:
        w = weight_value(node, self._weights)
        if scale is None:
            return prepare(w, weight, act)
        points = None if zero is None else weight_value(zero, self._weights)
        return prepare_stored(Stored(w, weight_value(scale, self._weights), points), weight, act)

    def _weight(self, node: fx.Node) -> Tensor:
        if node not in self._stored:
            self._stored[node] = weight_value(node, self._weights)
        return self._stored[node]
