"""Layout ops of static graphs: one spelling, and chains of them as few ops as they can be."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from edgeq.frontend import layout
from edgeq.frontend.layout import Layout, Steps
from edgeq.frontend.match import base, rank, shape
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

aten = torch.ops.aten
RESHAPES = {
    "reshape", "view", "unsqueeze", "squeeze", "flatten", "unflatten", "_unsafe_view", "unsafe_view", "view_as",
    "reshape_as",
}  # fmt: skip
PERMUTES = {"permute", "transpose", "t", "numpy_T", "mT", "movedim", "swapaxes"}
PICKS = {"slice", "select"}
CHAIN = RESHAPES | PERMUTES | PICKS


def spell_layout(node: fx.Node) -> bool:
    """Every reshape -> reshape(x, sizes), every permutation -> permute(x, order); of weights a matrix keeps `t`."""
    kind = base(node)
    if kind in RESHAPES and (node.target is not aten.reshape.default or list(node.args[1]) != list(shape(node))):
        return replace(node, call(node, aten.reshape.default, node.args[0], list(shape(node))))
    if kind in PERMUTES and node.target is not aten.permute.default and not (kind == "t" and is_weight(node)):
        return replace(node, call(node, aten.permute.default, node.args[0], list(order_of(node))))
    return kind == "slice" and _spell_slice(node)


def _spell_slice(node: fx.Node) -> bool:
    """Axis and ends as they are, counted from the front."""
    given: list[Any] = list(node.args[1:])
    axis, start, stop, step = given + [0, None, None, 1][len(given) :]
    axis = axis % rank(node)
    start, stop, step = slice(start, stop, step).indices(int(shape(node.args[0])[axis]))
    args = (node.args[0], axis, start, stop, *([] if step == 1 else [step]))
    if node.args == args:
        return False
    node.args = args
    return True


def order_of(node: fx.Node) -> tuple[int, ...]:
    """The permutation that a permuting op does, seen on axes of different sizes."""
    axes = rank(node)
    sizes = torch.empty(list(range(2, axes + 2)), device="meta")
    moved = node.target(sizes, *node.args[1:], **node.kwargs)  # type: ignore[operator]
    return tuple(size - 2 for size in moved.shape)


def follow(x: fx.Node) -> list[tuple[int, fx.Node, Layout]]:
    """(ops between, root, layout of x over it) for every node that layout ops lead x back to, nearest first."""
    chain = [x]
    while base(chain[-1]) in CHAIN:
        chain.append(chain[-1].args[0])
    found = []
    for end in range(1, len(chain)):
        held = _over(chain[end], chain[:end][::-1])
        if held is not None:
            found.append((end, chain[end], held))
    return found


def _over(root: fx.Node, chain: list[fx.Node]) -> Layout | None:
    held: Layout | None = layout.contiguous(tuple(shape(root)))
    for node in chain:
        held = None if held is None else follow_step(held, node)
    return held


def follow_step(held: Layout, node: fx.Node) -> Layout | None:
    """The layout after one more op of a chain; None where the algebra does not reach."""
    kind = base(node)
    if kind in RESHAPES:
        return layout.reshape(held, tuple(shape(node)))
    if kind in PERMUTES:
        return layout.permute(held, order_of(node))
    axis = (node.args[1] if len(node.args) > 1 else 0) % len(held.axes)
    size = held.shape[axis]
    if kind == "select":
        index = node.args[2] % size
        picked = layout.cut(held, axis, index, index + 1)
        return None if picked is None else layout.drop(picked, axis)
    given: list[Any] = list(node.args[2:])
    start, stop, step = slice(*(given + [None, None, None][len(given) :])).indices(size)
    return layout.cut(held, axis, start, stop) if step == 1 and start < stop else None


def simplify(node: fx.Node) -> bool:
    """A chain's end -> the fewest ops, from the farthest root that allows it."""
    if base(node) not in CHAIN or not any(base(user) not in CHAIN for user in node.users):
        return False
    for length, root, held in reversed(follow(node)):
        steps = layout.canonical(held, tuple(shape(root)))
        if steps is not None and steps.count < length and _adjacent(steps):
            return replace(node, _emit(node, root, steps))
    return False


def _adjacent(steps: Steps) -> bool:
    features = steps.features
    return features is None or features == tuple(range(features[0], features[0] + len(features)))


def _emit(like: fx.Node, x: fx.Node, steps: Steps) -> fx.Node:
    """x, its features picked, reshaped and permuted."""
    if steps.features is not None:
        first, count = steps.features[0], len(steps.features)
        x = call(like, aten.slice.Tensor, x, rank(x) - 1, first, first + count)
    return emit_moves(like, x, steps)


def emit_moves(like: fx.Node, x: fx.Node, steps: Steps) -> fx.Node:
    """x, reshaped and permuted."""
    if steps.before is not None:
        x = call(like, aten.reshape.default, x, list(steps.before))
    if steps.order is not None:
        x = call(like, aten.permute.default, x, list(steps.order))
    return x if steps.after is None else call(like, aten.reshape.default, x, list(steps.after))


def linear_of_rows(node: fx.Node) -> bool:
    """reshape(linear(x)) that regroups rows for an attention -> linear(reshape(x)); other readers get it back."""
    x: Any = node.args[0] if node.args else None
    if base(node) != "reshape" or base(x) != "linear" or shape(node)[-1] != shape(x)[-1] or rank(node) != 3:
        return False
    if not any(base(user) == "attention" for user in node.users) or is_weight(node):
        return False
    source = x.args[0]
    rows = call(x, aten.reshape.default, source, [*shape(node)[:-1], shape(source)[-1]])
    new = call(x, aten.linear.default, rows, *x.args[1:])
    node.replace_all_uses_with(new)
    return replace(x, call(x, aten.reshape.default, new, list(shape(x))))


def norm_of_rows(node: fx.Node) -> bool:
    """reshape(norm(x)) that regroups rows -> norm(reshape(x)): the norm meets the linear that it is fused into."""
    x: Any = node.args[0] if node.args else None
    if base(node) != "reshape" or base(x) not in ("layer_norm", "rms_norm") or len(x.users) > 1 or is_weight(x):
        return False
    if shape(node)[-1] != shape(x)[-1] or not all(base(user) == "linear" for user in node.users):
        return False
    rows = call(x, aten.reshape.default, x.args[0], list(shape(node)))
    new = call(x, x.target, rows, *x.args[1:], **x.kwargs)
    new.meta["hf"] = x.meta["hf"]
    return replace(node, new)


def drop_expand(node: fx.Node) -> bool:
    """An operand that is only repeated, in an op that broadcasts, need not be."""
    if base(node) not in ("add", "sub", "mul", "div", "where", "maximum", "minimum", "expand", "eq", "ne", "lt", "gt"):
        return False
    for x in node.all_input_nodes:
        if base(x) != "expand":
            continue
        narrow = x.args[0]
        shapes = [shape(narrow) if y is x else shape(y) for y in node.all_input_nodes]
        if base(node) == "expand" or torch.broadcast_shapes(*shapes) == shape(node):
            node.replace_input_with(x, narrow)
            return True
    return False
