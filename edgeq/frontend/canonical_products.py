"""Products of activations in one spelling: a product of matrices, stacked or not."""

from __future__ import annotations

from math import prod

import torch
from torch import fx

from edgeq.frontend.match import base, shape
from edgeq.frontend.rewrite import call, replace

aten = torch.ops.aten


def spell_product(node: fx.Node) -> bool:
    """mm -> matmul; addmm, baddbmm of activations -> a product and a sum; einsum of two operands -> matmul."""
    kind = base(node)
    if kind == "mm":
        return replace(node, call(node, aten.matmul.default, *node.args))
    if kind in ("addmm", "baddbmm"):
        scale = float(node.kwargs.get("alpha", 1))
        product = call(node, aten.matmul.default, *node.args[1:3])
        product = product if scale == 1 else call(node, aten.mul.Tensor, product, scale)
        if node.kwargs.get("beta", 1) == 0:
            return replace(node, product)
        return node.kwargs.get("beta", 1) == 1 and replace(node, call(node, aten.add.Tensor, product, node.args[0]))
    return kind == "einsum" and len(node.args[1]) == 2 and _einsum(node)


def _einsum(node: fx.Node) -> bool:
    """a,b->c as a product of matrices, stacked over the letters that all three share."""
    sides, _, out = node.args[0].replace(" ", "").partition("->")
    a, b = sides.split(",")
    if "." in sides or not out or any(len(set(word)) < len(word) for word in (a, b, out)):
        return False
    size = dict(zip(a + b, shape(node.args[1][0]) + shape(node.args[1][1]), strict=True))
    stack = [c for c in out if c in a and c in b]
    inner = [c for c in a if c in b and c not in out]
    rows, columns = ([c for c in word if c in out and c not in stack] for word in (a, b))
    if set(a) | set(b) != {*stack, *inner, *rows, *columns}:
        return False  # a letter that one operand sums over alone
    # Rows that stand before the stacked letters need not be moved: the other operand is broadcast over them.
    lead = [c for c in rows if all(a.index(c) < a.index(s) for s in stack)] if len(rows) > 1 and stack else []
    own = [c for c in rows if c not in lead]
    if not own:
        lead, own = lead[:-1], lead[-1:]
    left = _ordered(node, node.args[1][0], a, [lead, stack, own, inner], size)
    right = _ordered(node, node.args[1][1], b, [stack, inner, columns], size)
    product = call(node, aten.matmul.default, left, right)
    order = [*lead, *stack, *own, *columns]
    result = _reshaped(node, product, [size[c] for c in order])
    return replace(node, _permuted(node, result, [order.index(c) for c in out]))


def _ordered(like: fx.Node, x: fx.Node, word: str, groups: list[list[str]], size: dict[str, int]) -> fx.Node:
    """x with its axes in the groups' order; the last two groups are one axis each."""
    moved = _permuted(like, x, [word.index(c) for group in groups for c in group])
    kept = [size[c] for group in groups[:-2] for c in group]
    return _reshaped(like, moved, kept + [prod(size[c] for c in group) for group in groups[-2:]])


def _permuted(like: fx.Node, x: fx.Node, order: list[int]) -> fx.Node:
    return x if order == sorted(order) else call(like, aten.permute.default, x, order)


def _reshaped(like: fx.Node, x: fx.Node, sizes: list[int]) -> fx.Node:
    return x if list(shape(x)) == sizes else call(like, aten.reshape.default, x, sizes)
