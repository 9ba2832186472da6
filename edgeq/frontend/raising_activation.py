"""GELU in its written-out forms, SiLU, and gated products -> one op each."""

from __future__ import annotations

import math

import torch
from torch import fx

from edgeq.frontend.canonical import same
from edgeq.frontend.match import Pattern, base, match, match_any
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

aten, eq = torch.ops.aten, torch.ops.edgeq
ROOT = math.sqrt(2 / math.pi)
CUBIC: list[Pattern] = [
    ("mul", ("add", "x", ("mul", ("pow", "x", 3), 0.044715)), ROOT),
    ("mul", ("mul", "x", ROOT), ("add", ("mul", ("mul", "x", 0.044715), "x"), 1.0)),
    ("mul", ("mul", "x", ROOT), ("add", ("mul", ("mul", "x", "x"), 0.044715), 1.0)),
]


def _halved(inner: Pattern) -> list[Pattern]:
    """0.5 * x * (1 + inner) in the orders in which people write it."""
    one = ("add", inner, 1.0)
    return [("mul", ("mul", "x", 0.5), one), ("mul", "x", ("mul", one, 0.5)), ("mul", ("mul", "x", one), 0.5)]


TANH = [p for cubic in CUBIC for p in _halved(("tanh", cubic))]
ERF = [
    p
    for inner in (("div", "x", math.sqrt(2)), ("mul", "x", math.sqrt(0.5)))
    for p in _halved(("erf", inner))
]
QUICK: Pattern = ("mul", "x", ("sigmoid", ("mul", "x", 1.702)))
SILU: Pattern = ("mul", "x", ("sigmoid", "x"))


def raise_gelu(node: fx.Node) -> bool:
    """Written-out GELU (tanh and erf forms), quick GELU and SiLU."""
    if found := match_any(TANH, node):
        return replace(node, call(node, aten.gelu.default, found["x"], approximate="tanh"))
    if found := match_any(ERF, node):
        return replace(node, call(node, aten.gelu.default, found["x"]))
    if found := match(QUICK, node):
        return replace(node, call(node, eq.quick_gelu.default, found["x"]))
    if found := match(SILU, node):
        return replace(node, call(node, aten.silu.default, found["x"]))
    return False


def raise_square(node: fx.Node) -> bool:
    """square(x), pow(x, 2) -> x * x (after norms, which are known by their squares)"""
    if base(node) != "square" and not (base(node) == "pow" and node.args[1] == 2):
        return False
    return replace(node, call(node, aten.mul.Tensor, node.args[0], node.args[0]))


def raise_gated(node: fx.Node) -> bool:
    """act(gate) * up -> gated(gate, up)"""
    if base(node) != "mul" or not all(isinstance(a, fx.Node) for a in node.args[:2]):
        return False
    for act, up in (node.args[:2], node.args[1::-1]):
        name = _activation(act)
        if name and same(act, up) and len(act.users) == 1 and not is_weight(up):
            return replace(node, call(node, eq.gated.default, act.args[0], up, act=name))
    return False


def _activation(node: fx.Node) -> str | None:
    name = base(node)
    if name == "gelu" and node.kwargs.get("approximate") == "tanh":
        return "gelu_tanh"
    return name if name in ("silu", "gelu", "relu", "quick_gelu") else None
