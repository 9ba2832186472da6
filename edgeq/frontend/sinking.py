"""Permutations and reshapes move below the ops that do not care for them, so that inverse ones meet and cancel.

A convolution wants channels last and gives them back first: between two convolutions nothing else is left.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from edgeq.frontend.match import base, rank, shape
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

aten = torch.ops.aten
ELEMENTWISE = {
    "add", "sub", "rsub", "mul", "div", "neg", "abs", "pow", "sqrt", "rsqrt", "exp", "log", "sin", "cos", "tanh",
    "sigmoid", "erf", "gelu", "silu", "relu", "quick_gelu", "clamp", "clamp_min", "maximum", "minimum", "where", "eq",
    "ne", "lt", "le", "gt", "ge", "logical_not", "to", "hardtanh", "hardsigmoid", "hardswish", "gated", "masked_fill",
    "square",
}  # fmt: skip
ROW_WISE = {"layer_norm", "rms_norm"}


def sink(node: fx.Node) -> bool:
    """f(permute(x), ...) -> permute(f(x, ...)), and the same of reshape."""
    kind = base(node)
    if is_weight(node) or kind is None:
        return False
    if kind in ELEMENTWISE:
        return _sink_elementwise(node)
    if kind in ROW_WISE:
        return _sink_row_wise(node)
    x: Any = node.args[0] if node.args else None
    if kind == "cat":
        return _sink_cat(node)
    if base(x) != "permute" or is_weight(x):
        return False
    if kind == "linear" and x.args[1][-1] == rank(x) - 1:
        return _sink_row_wise(node)
    order = [int(axis) for axis in x.args[1]]
    if kind in ("mean", "sum", "amax", "amin") and len(node.args) > 1 and node.args[1]:
        return _sink_reduction(node, x, order)
    if kind in ("slice", "softmax"):
        axis = order[node.args[1] % rank(node)]
        inner = call(node, node.target, x.args[0], axis, *node.args[2:])
        return replace(node, call(node, aten.permute.default, inner, order))
    return kind == "constant_pad_nd" and _sink_pad(node, x, order)


def _sink_elementwise(node: fx.Node) -> bool:
    tensors = [a for a in node.args if isinstance(a, fx.Node)]
    lead = next((a for a in tensors if base(a) in ("permute", "reshape") and shape(a) == shape(node)), None)
    if lead is None or is_weight(lead):
        return False
    others = [a for a in tensors if a is not lead]
    if len(lead.users) > 1 and others and all(is_weight(a) for a in others):
        return False  # what lead is would be made twice; the weight is moved for nothing
    operands = {a: _above(node, a, lead) for a in tensors}
    if any(a is None for a in operands.values()):
        return False
    args = fx.map_arg(node.args, lambda a: operands[a])
    inner = call(node, node.target, *args, **node.kwargs)
    return replace(node, call(node, lead.target, inner, lead.args[1]))


def _above(node: fx.Node, a: fx.Node, lead: fx.Node) -> fx.Node | None:
    """The operand as it must be above the layout op that `lead` is, None if that would cost an op."""
    if a is lead:
        return lead.args[0]  # type: ignore[return-value]
    source = lead.args[0]
    if a.target is lead.target and a.args[1] == lead.args[1] and shape(a.args[0]) == shape(source):
        return a.args[0]  # type: ignore[return-value]
    if all(size == 1 for size in shape(a)) and rank(a) <= 1:
        return a
    if base(lead) == "reshape":
        vector = len(shape(a)) == 1 or all(size == 1 for size in shape(a)[:-1])
        kept = shape(source)[-1] == shape(lead)[-1]
        return a if vector and kept and rank(a) <= rank(source) else None
    return _permuted_back(node, a, [int(axis) for axis in lead.args[1]]) if is_weight(a) else None


def _permuted_back(node: fx.Node, a: fx.Node, order: list[int]) -> fx.Node:
    """A broadcast weight, its axes permuted back, without leading axes of size 1."""
    sizes = [1] * (len(order) - rank(a)) + [int(size) for size in shape(a)]
    moved = [sizes[order.index(axis)] for axis in range(len(order))]
    if [n for n in moved if n > 1] != [n for n in sizes if n > 1]:
        whole = a if rank(a) == len(order) else call(node, aten.reshape.default, a, sizes)
        a = call(node, aten.permute.default, whole, [order.index(axis) for axis in range(len(order))])
    while len(moved) > 1 and moved[0] == 1:
        moved = moved[1:]
    return a if list(shape(a)) == moved else call(node, aten.reshape.default, a, moved)


def _sink_row_wise(node: fx.Node) -> bool:
    x = node.args[0]
    if is_weight(x):
        return False
    if base(x) == "reshape" and rank(x.args[0]) > 0 and shape(x.args[0])[-1] == shape(x)[-1]:
        inner = call(node, node.target, x.args[0], *node.args[1:], **node.kwargs)
        return replace(node, call(node, aten.reshape.default, inner, list(shape(node))))
    if base(x) == "permute" and x.args[1][-1] == rank(x) - 1:
        inner = call(node, node.target, x.args[0], *node.args[1:], **node.kwargs)
        return replace(node, call(node, aten.permute.default, inner, list(x.args[1])))
    return False


def _sink_cat(node: fx.Node) -> bool:
    parts: Any = node.args[0]
    axis = node.args[1] % rank(node) if len(node.args) > 1 else 0
    if any(base(a) != "permute" or a.args[1] != parts[0].args[1] for a in parts):
        return False
    order = parts[0].args[1]
    inner = call(node, aten.cat.default, [a.args[0] for a in parts], order[axis])
    return replace(node, call(node, aten.permute.default, inner, list(order)))


def _sink_reduction(node: fx.Node, x: fx.Node, order: list[int]) -> bool:
    given = node.args[1] if isinstance(node.args[1], (list, tuple)) else [node.args[1]]
    axes = [axis % len(order) for axis in given]
    keep = bool(node.args[2]) if len(node.args) > 2 else bool(node.kwargs.get("keepdim", False))
    inner = call(node, node.target, x.args[0], [order[axis] for axis in axes], keep)
    if keep:
        return replace(node, call(node, aten.permute.default, inner, order))
    left = [order[axis] for axis in range(len(order)) if axis not in axes]
    new = [sorted(left).index(axis) for axis in left]
    return replace(node, inner if new == sorted(new) else call(node, aten.permute.default, inner, new))


def _sink_pad(node: fx.Node, x: fx.Node, order: list[int]) -> bool:
    given = list(node.args[1])
    sides = {len(order) - 1 - i // 2: given[i : i + 2] for i in range(0, len(given), 2)}
    moved = {order[axis]: pair for axis, pair in sides.items()}
    first = min(axis for axis, pair in moved.items() if any(pair))
    pads = [n for axis in range(len(order) - 1, first - 1, -1) for n in moved.get(axis, [0, 0])]
    inner = call(node, node.target, x.args[0], pads, *node.args[2:])
    return replace(node, call(node, aten.permute.default, inner, order))
