"""`X' = (X - shift) / scale`, folded into what makes an activation and undone in the linears that read it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from edgeq.ir.graph import arguments, calls, insert, is_weight, op, value
from edgeq.passes.folds.channels import reads
from edgeq.passes.folds.fold_points import NORMS, FoldPoint


def fold(gm: fx.GraphModule, point: FoldPoint, scale: Tensor | None = None, shift: Tensor | None = None) -> None:
    """Rewrite producer, consumers and added constants of a fold point. Exact in real arithmetic.

    `W x + b = (W s) ((x - z) / s) + (b + W z)` (Outlier Suppression+, eq. 4 and 5; SmoothQuant, eq. 3). Everything is a
    weight expression over the two tables, so that nothing is rounded before packing.

    Args:
        gm: the graph that holds the point.
        point: where; its nodes stay what they are, so other points of the graph stay valid.
        scale: f32 `[K / repeat]`, positive (of a `norm`, `value` or `gated` point any nonzero), None for 1.
        shift: f32 `[K / repeat]`, None for 0.

    Raises:
        ValueError: a shift where `point.no_shift` says that there can be none.
    """
    if shift is not None and point.no_shift:
        raise ValueError(f"{point.module}: no shift: {point.no_shift}")
    own = [None if t is None else table(gm, t, point.producer) for t in (scale, shift)]
    wide = [None if t is None else _spread(gm, point, t, own[i]) for i, t in enumerate((scale, shift))]
    for linear in point.consumers:
        _undo(gm, linear, *wide)
    for add in point.added:
        _scale_constant(add, wide[0])
    if point.kind == "norm":
        _fold_norm(gm, point.producer, *own)
    else:
        _fold_rows(gm, point.producer, *own)


def part_norms(gm: fx.GraphModule) -> None:
    """A norm that linears read beside something else (a residual, an output) becomes two: one for the linears alone.

    That restores the shortcut of a post-LN model: the second norm is `x' * s + z` of the first, computed from the same
    input. A norm that only selected rows are read from is left alone: its copy would be computed for all.
    """
    for node in calls(gm, *NORMS):
        sole = [user for user in node.users if _only_linears(node, user)]
        if not sole or len(sole) == len(node.users):
            continue
        with gm.graph.inserting_after(node):
            copy = gm.graph.node_copy(node)
        copy.meta = dict(node.meta)
        for user in sole:
            user.replace_input_with(node, copy)


def _only_linears(node: fx.Node, user: fx.Node) -> bool:
    found = reads(node, [user])
    return bool(found.linears) and not found.others and not found.selects


def table(gm: fx.GraphModule, values: Tensor, like: fx.Node, name: str = "fold") -> fx.Node:
    """A stored constant of the module, f32, typed by a node that will read it; it stands before every call."""
    held = f"{name}_{sum(key.startswith(f'{name}_') for key in gm._buffers)}"
    gm.register_buffer(held, values.detach().float().contiguous())
    with gm.graph.inserting_before(_first_call(gm.graph)):
        node = gm.graph.create_node("get_attr", held, name=held)
    node.meta.update(val=value(like).new_empty(tuple(values.shape), dtype=torch.float32), hf="")
    return node


def replace_argument(node: fx.Node, name: str, new: fx.Node | None) -> None:
    """Give the argument of a call another value, in place: the node stays the same."""
    assert isinstance(node.target, torch._ops.OpOverload)
    schema = node.target._schema.arguments
    position = [argument.name for argument in schema].index(name)
    if schema[position].kwarg_only:
        node.kwargs = {**node.kwargs, name: new}
        return
    args: list[Any] = list(node.args)
    args += [schema[i].default_value for i in range(len(args), position + 1)]
    args[position] = new
    node.args = tuple(args)


def apply(node: fx.Node, name: str, function: str, *operands: Any) -> None:
    """Put a weight that is an argument of a node through an op: `apply(linear, "weight", "aten.mul.Tensor", table)`."""
    old = arguments(node)[name]
    with node.graph.inserting_before(node):
        replace_argument(node, name, insert(node.graph, function, old, *operands, like=old))


def add_bias(gm: fx.GraphModule, node: fx.Node, name: str, term: fx.Node) -> None:
    """Add a weight vector to a node's bias, or make it the bias where there is none."""
    if arguments(node)[name] is None:
        replace_argument(node, name, term)
    else:
        apply(node, name, "aten.add.Tensor", term)


def _first_call(graph: fx.Graph) -> fx.Node:
    """A table that several nodes read must stand before all of them."""
    return next(node for node in graph.nodes if node.op == "call_function")


def _spread(gm: fx.GraphModule, point: FoldPoint, values: Tensor, own: fx.Node | None) -> fx.Node | None:
    """The table over the activation's channels: the producer's own, unless heads share it."""
    return own if point.repeat == 1 else table(gm, point.spread(values), point.producer)


def _undo(gm: fx.GraphModule, linear: fx.Node, scale: fx.Node | None, shift: fx.Node | None) -> None:
    """bias += W z with the weight as it was, then W *= s: the other order would scale z too."""
    if shift is not None:
        weight = arguments(linear)["weight"]
        with gm.graph.inserting_before(linear):
            product = insert(gm.graph, "aten.mul.Tensor", weight, shift, like=weight)
            term = insert(gm.graph, "aten.sum.dim_IntList", product, [1], like=weight)
        add_bias(gm, linear, "bias", term)
    if scale is not None:
        apply(linear, "weight", "aten.mul.Tensor", scale)


def _scale_constant(add: fx.Node, scale: fx.Node | None) -> None:
    """x + p is read as (x - z) / s + p / s."""
    if scale is None:
        return
    position = next(i for i, x in enumerate(add.args[:2]) if is_weight(x))
    apply(add, ("self", "other")[position], "aten.div.Tensor", scale)


def _fold_norm(gm: fx.GraphModule, norm: fx.Node, scale: fx.Node | None, shift: fx.Node | None) -> None:
    """weight /= s; bias = (bias - z) / s."""
    weight, bias = ("weight", "bias") if op(norm) == "aten.layer_norm" else ("w", "b")
    given = arguments(norm)
    if given[weight] is None:
        width = int(value(norm).shape[-1])
        replace_argument(norm, weight, table(gm, torch.full((width,), 1.0 - given.get("offset", 0.0)), norm, "ones"))
    if given.get("offset"):
        apply(norm, weight, "aten.add.Tensor", given["offset"])
        norm.kwargs = {**norm.kwargs, "offset": 0.0}
    if scale is not None:
        apply(norm, weight, "aten.div.Tensor", scale)
    _shift_bias(gm, norm, bias, scale, shift)


def _shift_bias(gm: fx.GraphModule, node: fx.Node, name: str, scale: fx.Node | None, shift: fx.Node | None) -> None:
    if shift is not None:
        with gm.graph.inserting_before(node):
            negative = insert(gm.graph, "aten.neg", shift, like=shift)
        add_bias(gm, node, name, negative)
    if scale is not None and arguments(node).get(name) is not None:
        apply(node, name, "aten.div.Tensor", scale)


def _fold_rows(gm: fx.GraphModule, linear: fx.Node, scale: fx.Node | None, shift: fx.Node | None) -> None:
    """Rows of W /= s; bias = (bias - z) / s."""
    if scale is not None:
        with gm.graph.inserting_before(linear):
            column = insert(gm.graph, "aten.reshape", scale, [-1, 1], like=scale)
        apply(linear, "weight", "aten.div.Tensor", column)
    _shift_bias(gm, linear, "bias", scale, shift)
