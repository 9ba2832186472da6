"""Score biases that depend on the distance of query and key alone: rows of a table of buckets -> a row by distance."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from edgeq.frontend.fold_constants import hold
from edgeq.frontend.match import match, rank
from edgeq.frontend.rewrite import call
from edgeq.ir.graph import arguments, is_weight

aten, eq = torch.ops.aten, torch.ops.edgeq
KNOWN = 2048  # positions that the bias is worked out for; a cache holds at most as many
PATTERN = ("unsqueeze", ("permute", ("embedding", "table", "buckets"), [2, 0, 1]), 0)  # [1, heads, S, S]


def bias_by_distance(node: fx.Node) -> bool:
    """Causal attention biased by rows of a weight `[buckets, heads]` at numbers `[S, S]` -> distance_bias `[heads, N]`.

    The numbers must be a function of the distance: they are computed for N = KNOWN positions and compared.
    """
    if node.target is not eq.attention.default or not node.kwargs["causal"]:
        return False
    found = match(PATTERN, arguments(node)["bias"])
    if not found or not is_weight(found["table"]) or rank(found["buckets"]) != 2:
        return False
    by_distance = _by_distance(found["buckets"])
    if by_distance is None:
        return False
    numbers = hold(node, by_distance, "buckets")
    rows = call(node, aten.embedding.default, found["table"], numbers)
    given = arguments(node)
    node.args = (*node.args[:4], None, given["sinks"], None, None, call(node, aten.t.default, rows))
    return True


def _by_distance(buckets: fx.Node) -> Tensor | None:
    """Numbers i64 `[KNOWN]` by how far a key lies back, None where they are no such; worked out once for all layers."""
    if "by_distance" not in buckets.meta:
        numbers = _value(buckets, {})
        known = numbers is not None and _is_toeplitz(numbers)
        buckets.meta["by_distance"] = numbers[-1].flip(0).clone() if known else None
    return buckets.meta["by_distance"]


def _value(node: Any, known: dict[fx.Node, Any]) -> Any:
    """What a node that depends on the length alone is when that is KNOWN; None for anything else."""
    if not isinstance(node, fx.Node):
        return node
    if node not in known:
        known[node] = _compute(node, known)
    return known[node]


def _compute(node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    held = node.meta.get("val")
    if isinstance(held, torch.SymInt):
        expression = held.node.expr
        return int(expression.subs(dict.fromkeys(expression.free_symbols, KNOWN)))
    if node.op != "call_function" or any(_value(source, known) is None for source in node.all_input_nodes):
        return None
    args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), known.__getitem__)
    return node.target(*args, **kwargs)  # type: ignore[operator]


def _is_toeplitz(buckets: Tensor) -> bool:
    """Whether keys at one distance back have one number; those ahead do not matter."""
    rows, size = buckets.shape
    if rows != size:
        return False
    distance = torch.arange(size)[:, None] - torch.arange(size)[None]
    by_distance = buckets[-1].flip(0)
    return bool(((buckets == by_distance[distance.clamp(min=0)]) | (distance < 0)).all())
