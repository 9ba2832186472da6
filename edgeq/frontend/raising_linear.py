"""Matrix products with weights, however written -> aten.linear with a weight `[N, K]`."""

from __future__ import annotations

import torch
from torch import fx

from edgeq.frontend.match import base, match, rank, shape
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

aten = torch.ops.aten
FEW = 8


def raise_addmm(node: fx.Node) -> bool:
    """addmm(b, x, w) (GPT-2's Conv1D) -> linear(x, t(w), b)"""
    if base(node) != "addmm" or node.kwargs or not is_weight(node.args[2]) or is_weight(node.args[1]):
        return False
    bias, x, w = node.args
    if not is_weight(bias) or rank(bias) != 1:
        return False
    return replace(node, call(node, aten.linear.default, x, call(node, aten.t.default, w), bias))


def raise_matmul(node: fx.Node) -> bool:
    """matmul(x, w) with a weight -> linear(x, t(w))"""
    if base(node) != "matmul" or not is_weight(node.args[1]) or rank(node.args[1]) != 2 or is_weight(node.args[0]):
        return False
    x, w = node.args
    weight = w.args[0] if base(w) == "t" else call(node, aten.t.default, w)
    return replace(node, call(node, aten.linear.default, x, weight))


def raise_wide_matmul(node: fx.Node) -> bool:
    """`raise_matmul` in static graphs, where products may stay: over few channels (coordinates) none is quantized."""
    return base(node) == "matmul" and rank(node.args[1]) == 2 and shape(node.args[1])[0] > FEW and raise_matmul(node)


def raise_bias(node: fx.Node) -> bool:
    """linear(x, w) + b -> linear(x, w, b)"""
    found = match(("add", ("linear", "x", "w"), "b"), node)
    if not found or not is_weight(found["b"]) or rank(found["b"]) != 1:
        return False
    linear = next(a for a in node.args if base(a) == "linear")
    if len(linear.args) != 2 or len(linear.users) != 1:
        return False
    return replace(node, call(node, aten.linear.default, found["x"], found["w"], found["b"]))
