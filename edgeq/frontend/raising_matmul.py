"""Products of activations, arranged so that large operands are read as they lie and only small results are permuted."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch
from torch import fx

from edgeq.frontend import layout
from edgeq.frontend.layout import Factor
from edgeq.frontend.match import base, rank, shape
from edgeq.frontend.raising_layout import follow
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

aten = torch.ops.aten


class Moved(NamedTuple):
    """A permutation of all of root's elements: factors of each of its axes, innermost `width` last."""

    root: fx.Node
    axes: tuple[tuple[Factor, ...], ...]


def columns_last(node: fx.Node) -> bool:
    """a @ permute(x), x as it lies being rows of what is summed over -> permute(x @ a^T), for a of few rows."""
    if base(node) != "matmul" or rank(node) < 2 or shape(node)[-2] >= shape(node)[-1]:
        return False
    a, x = node.args
    moved = None if is_weight(x) else _moved(x)
    if moved is None or rank(a) != rank(x) or shape(a)[:-2] != shape(x)[:-2]:
        return False
    *batch, inner, columns = moved.axes
    lead = [f for axis in batch for f in axis]
    if inner != (Factor(shape(a)[-1], 1),) or lead != sorted(lead, key=_stride)[::-1]:
        return False
    rows = sorted(columns, key=_stride)[::-1]
    if not rows or (lead and lead[-1].stride < rows[0].stride):
        return False
    sizes, few = list(shape(x)[:-2]), shape(a)[-2]
    flat = call(node, aten.reshape.default, moved.root, [*sizes, prod(f.size for f in rows), shape(a)[-1]])
    order = [*range(rank(a) - 2), rank(a) - 1, rank(a) - 2]
    y = call(node, aten.matmul.default, flat, call(node, aten.permute.default, a, order))
    y = call(node, aten.reshape.default, y, [*sizes, *(f.size for f in rows), few])
    at = len(sizes)
    order = [*range(at), at + len(rows), *(at + rows.index(f) for f in columns)]
    y = call(node, aten.permute.default, y, order)
    return replace(node, call(node, aten.reshape.default, y, list(shape(node))))


def stacked_weights(node: fx.Node) -> bool:
    """permute(x) @ w, w `[S, C, K]` a weight for each index of x's axis before rows -> permute(x @ w), x as it lies."""
    if base(node) != "matmul" or not is_weight(node.args[1]) or rank(node.args[1]) != 3 or rank(node) < 3:
        return False
    x, w = node.args
    stack, inner, outer = shape(w)
    moved = None if is_weight(x) or outer > inner else _moved(x)
    if moved is None or moved.axes[-1] != (Factor(inner, 1),) or len(moved.axes[-3]) != 1 or stack == 1:
        return False
    one = moved.axes[-3][0]
    order = [f for axis in moved.axes[:-1] for f in axis]
    lying = sorted(order, key=_stride)[::-1]
    if order == lying:
        return False
    before, after = lying[: lying.index(one)], lying[lying.index(one) + 1 :]
    sizes = [f.size for f in before]
    flat = call(node, aten.reshape.default, moved.root, [*sizes, stack, prod(f.size for f in after), inner])
    y = call(node, aten.matmul.default, flat, w)
    y = call(node, aten.reshape.default, y, [*(f.size for f in lying), outer])
    y = call(node, aten.permute.default, y, [*(lying.index(f) for f in order), len(lying)])
    return replace(node, call(node, aten.reshape.default, y, list(shape(node))))


def _stride(factor: Factor) -> int:
    return factor.stride


def _moved(x: fx.Node) -> Moved | None:
    """x as a permutation of the farthest root that it holds all elements of; None if it is not permuted at all."""
    for _, root, held in reversed(follow(x)):
        steps = layout.canonical(held, tuple(shape(root)))
        if steps is not None and steps.features is None and shape(root):
            axes = tuple(tuple(layout.merged(list(axis))) for axis in held.axes)
            return None if steps.order is None else Moved(root, axes)
    return None
