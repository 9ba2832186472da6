"""RMS norms written out in elementwise ops -> `edgeq::rms_norm` over the last axis."""

from __future__ import annotations

import torch
from torch import fx

from edgeq.frontend.match import Pattern, is_number, match, match_any, rank, shape
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

aten, eq = torch.ops.aten, torch.ops.edgeq


def _mean_square(square: Pattern) -> Pattern:
    return ("add", ("mean", square, [-1], True), "eps")


SQUARES: list[Pattern] = [("pow", "x", 2), ("mul", "x", "x")]
PATTERNS: list[Pattern] = [("mul", "x", ("rsqrt", _mean_square(s))) for s in SQUARES]
PATTERNS += [("mul", "x", ("pow", _mean_square(s), -0.5)) for s in SQUARES]
PATTERNS += [("div", "x", ("sqrt", _mean_square(s))) for s in SQUARES]


def raise_rms_norm(node: fx.Node) -> bool:
    """`x * rsqrt(mean(x^2) + eps)` -> rms_norm without a weight."""
    found = match_any(PATTERNS, node)
    if found is None or not is_number(found["eps"]):
        return False
    return replace(node, call(node, eq.rms_norm.default, found["x"], eps=float(found["eps"])))


def raise_aten_rms_norm(node: fx.Node) -> bool:
    """aten.rms_norm over the last axis, with its explicit eps."""
    if node.target is not aten.rms_norm.default or len(node.args[1]) != 1 or len(node.args) < 4:
        return False
    weight = [] if node.args[2] is None else [node.args[2]]
    return replace(node, call(node, eq.rms_norm.default, node.args[0], *weight, eps=float(node.args[3])))


def raise_rms_weight(node: fx.Node) -> bool:
    """rms_norm(x) * w -> rms_norm(x, w); times (1 + w): the offset 1."""
    found = match(("mul", "norm", "w"), node)
    for norm, w in _orders(found):
        if norm.target is eq.rms_norm.default and len(norm.args) == 1 and is_weight(w) and rank(w) == 1:
            plus = match(("add", "w", 1.0), w)
            options = {**norm.kwargs, "offset": 1.0} if plus else dict(norm.kwargs)
            return replace(node, call(node, eq.rms_norm.default, norm.args[0], plus["w"] if plus else w, **options))
    return False


def raise_layer_norm(node: fx.Node) -> bool:
    """rms_norm(x - mean(x), w) -> layer_norm(x, w)"""
    if node.target is not eq.rms_norm.default or node.kwargs.get("offset", 0.0):
        return False
    found = match(("sub", "x", ("mean", "x", [-1], True)), node.args[0])
    if not found:
        return False
    weight = node.args[1] if len(node.args) > 1 else None
    size = [int(shape(node)[-1])]
    return replace(node, call(node, aten.layer_norm.default, found["x"], size, weight, None, node.kwargs["eps"]))


def _orders(found: dict | None) -> list[tuple[fx.Node, fx.Node]]:
    if not found or not isinstance(found["norm"], fx.Node) or not isinstance(found["w"], fx.Node):
        return []
    return [(found["norm"], found["w"]), (found["w"], found["norm"])]
