"""Canonical form: what means nothing at inference is dropped, and every idea has one spelling."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from edgeq.frontend.export import attribute
from edgeq.frontend.match import base, is_number, same_dims, shape, value
from edgeq.frontend.rewrite import Rule, apply, call, replace, sweep

aten = torch.ops.aten
CHECKS = {"_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range_for_size", "_guards_fn"}
IDENTITY = {"alias", "contiguous", "clone", "detach", "detach_", "lift_fresh_copy", "lift_fresh", "dropout_"}
IDENTITY_IF_SAME = {
    "to", "_to_copy", "expand", "view", "reshape", "type_as", "slice", "squeeze", "expand_as", "unsafe_view",
    "_unsafe_view", "flatten", "repeat", "unflatten",
}
RESHAPES = {"view", "flatten", "unflatten", "_unsafe_view", "unsafe_view"}


def clean(gm: fx.GraphModule) -> None:
    """Bring a traced graph to canonical form, in place."""
    for node in list(gm.graph.nodes):
        if base(node) in CHECKS:
            gm.graph.erase_node(node)
    inline_scalars(gm)
    apply(gm, RULES)
    gm.graph.lint()
    gm.recompile()


def same(a: fx.Node, b: Any) -> bool:
    """Equal shape and dtype."""
    va, vb = value(a), value(b)
    if not isinstance(va, torch.Tensor) or not isinstance(vb, torch.Tensor):
        return False
    return va.dtype == vb.dtype and same_dims(tuple(va.shape), tuple(vb.shape))


def drop_identity(node: fx.Node) -> bool:
    """Ops that return their first argument as it is."""
    return replace(node, node.args[0]) if _is_identity(node) else False


def _is_identity(node: fx.Node) -> bool:
    kind, args = base(node), node.args
    if kind in IDENTITY:
        return True
    if kind in IDENTITY_IF_SAME:
        return same(node, args[0])
    if kind in ("dropout", "feature_dropout"):
        return args[2] is False
    if kind == "permute":
        return list(args[1]) == list(range(len(args[1])))
    if kind in ("mul", "div"):
        return is_number(args[1]) and args[1] == 1 and same(node, args[0])
    if kind in ("add", "sub"):
        return is_number(args[1]) and args[1] == 0 and same(node, args[0])
    return False


def one_operand_cat(node: fx.Node) -> bool:
    """`cat` without its empty operands; of one operand it is that operand."""
    if base(node) != "cat":
        return False
    parts = [x for x in node.args[0] if 0 not in shape(x)]
    if len(parts) == 1:
        return replace(node, parts[0])
    if len(parts) == len(node.args[0]):
        return False
    node.args = (parts, *node.args[1:])
    return True


def spell_reshape(node: fx.Node) -> bool:
    """view, flatten, unflatten -> reshape; a symbolic size that only carries the length over becomes -1."""
    if base(node) not in RESHAPES and not (base(node) == "reshape" and _has_symbol(node.args[1])):
        return False
    sizes = [d if isinstance(d, int) else -1 for d in shape(node)]
    if sizes.count(-1) > 1 or (base(node) == "reshape" and list(node.args[1]) == sizes):
        return False
    return replace(node, call(node, aten.reshape.default, node.args[0], sizes))


def _has_symbol(sizes: Any) -> bool:
    return any(not isinstance(d, int) for d in sizes)


def spell_transpose(node: fx.Node) -> bool:
    """permute of two axes, swapaxes, numpy_T, mT, .t() of a matrix -> transpose or t."""
    if base(node) in ("numpy_T", "mT") and len(shape(node)) == 2:
        return replace(node, call(node, aten.t.default, node.args[0]))
    if base(node) in ("transpose", "permute") and len(shape(node)) == 2 and not _keeps_order(node):
        return replace(node, call(node, aten.t.default, node.args[0]))
    if base(node) != "permute":
        return False
    moved = [i for i, axis in enumerate(node.args[1]) if axis != i]
    return len(moved) == 2 and replace(node, call(node, aten.transpose.int, node.args[0], *moved))


def _keeps_order(node: fx.Node) -> bool:
    if base(node) == "transpose":
        return node.args[1] % 2 == node.args[2] % 2
    return list(node.args[1]) == [0, 1]


def merge_reshapes(node: fx.Node) -> bool:
    """reshape(reshape(x)) -> reshape(x)"""
    if base(node) != "reshape" or base(node.args[0]) != "reshape":
        return False
    node.args = (node.args[0].args[0], node.args[1])
    return True


def scalar_last(node: fx.Node) -> bool:
    """2 * x -> x * 2, 2 + x -> x + 2"""
    if base(node) not in ("mul", "add") or not is_number(node.args[0]) or not isinstance(node.args[1], fx.Node):
        return False
    node.args = (node.args[1], node.args[0], *node.args[2:])
    return True


def spell_cast(node: fx.Node) -> bool:
    """_to_copy, which decomposition leaves behind -> to(dtype)"""
    if base(node) != "_to_copy":
        return False
    return replace(node, call(node, aten.to.dtype, node.args[0], value(node).dtype))


RULES: list[Rule] = [
    drop_identity, one_operand_cat, spell_reshape, spell_transpose, spell_cast, merge_reshapes, scalar_last,
]  # fmt: skip


def inline_scalars(gm: fx.GraphModule) -> None:
    """Computed buffers of one element (embedding scales) become numbers in the ops that use them."""
    for node in list(gm.graph.nodes):
        number = _number(gm, node)
        if number is None:
            continue
        for user in list(node.users):
            if base(user) in ("mul", "div", "add", "sub") and user.args[1] is node:
                user.args = (user.args[0], number, *user.args[2:])
    sweep(gm)


def _number(gm: fx.GraphModule, node: fx.Node) -> float | None:
    """The value of a 0-d real buffer, seen through casts."""
    while base(node) in ("to", "_to_copy", *IDENTITY):
        node = node.args[0]
    if node.op != "get_attr":
        return None
    tensor = attribute(gm, node.target)
    return float(tensor) if tensor.device.type != "meta" and tensor.dim() == 0 else None
