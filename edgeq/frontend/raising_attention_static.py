"""Attention in static graphs: heads merged with the batch, masks that are tensors, positions on a grid."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import fx

from edgeq.frontend.fold_constants import constant_value
from edgeq.frontend.match import base, is_number, rank, shape, value
from edgeq.frontend.raising_attention import through_views
from edgeq.frontend.raising_layout import RESHAPES, follow
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import arguments

aten, eq = torch.ops.aten, torch.ops.edgeq
trace = torch.ops.edgeq_trace
LOWEST = float(torch.finfo(torch.float32).min)


def raise_merged_heads(node: fx.Node) -> bool:
    """softmax(q k^T * scale + terms) v with q, k, v `[B*H, S, D]` -> attention over `[B, H, S, D]`."""
    if base(node) not in ("bmm", "matmul") or rank(node) != 3 or base(node.args[0]) != "softmax":
        return False
    weights, v = node.args
    if weights.args[1] not in (-1, 2) or rank(weights) != 3:
        return False
    found = _scores(weights.args[0])
    if found is None or rank(found[0]) != 3 or rank(found[1]) != 3 or rank(v) != 3:
        return False
    q, kt, scale, term = found
    heads = merged_heads(q)
    k = call(node, aten.transpose.int, kt, 1, 2)
    q, k, v = (_split(node, x, heads) for x in (q, k, v))
    bias = None if term is None else _bias(node, term, heads)
    out = call(node, trace.attention.default, q, k, v, None, bias, None, scale, 0.0)
    out = call(node, aten.transpose.int, out, 1, 2)
    return replace(node, call(node, aten.reshape.default, out, list(shape(node))))


def _scores(s: Any) -> tuple[fx.Node, fx.Node, float, fx.Node | None] | None:
    """(q, k^T, scale, added term) of softmax's input."""
    scale, term = 1.0, None
    while base(s) in ("add", "mul", "div"):
        a, b = s.args[:2]
        if base(s) == "add" and isinstance(b, fx.Node) and term is None and scale == 1.0:
            s, term = (a, b) if base(a) in ("bmm", "matmul", "mul", "div") else (b, a)
        elif base(s) != "add" and not isinstance(b, fx.Node):
            scale, s = scale * b if base(s) == "mul" else scale / b, a
        else:
            return None
    return (s.args[0], s.args[1], scale, term) if base(s) in ("bmm", "matmul") else None


def merged_heads(x: fx.Node) -> int:
    """How many heads the first axis holds besides the batch: the part of it that was in a projection's features."""
    while base(x) in ("mul", "div") and not isinstance(x.args[1], fx.Node):
        x = x.args[0]
    for _, root, held in follow(x):
        width = shape(root)[-1] if shape(root) else 0
        heads = prod(f.size for f in held.axes[0] if f.stride < width) if held.axes else 1
        if heads > 1:
            return heads
    return 1


def _split(like: fx.Node, x: fx.Node, heads: int) -> fx.Node:
    first, rows, width = shape(x)
    return call(like, aten.reshape.default, x, [first // heads, heads, rows, width])


def _bias(like: fx.Node, term: fx.Node, heads: int) -> fx.Node:
    sizes = [1] * (3 - rank(term)) + list(shape(term))
    split = [sizes[0] // heads, heads] if sizes[0] > 1 else [1, 1]
    return call(like, aten.reshape.default, term, [*split, *sizes[1:]])


def mask_to_bias(node: fx.Node) -> bool:
    """A mask that is a tensor of its own -> 0 or the lowest float, added to the scores."""
    if node.target is not trace.attention.default or node.args[3] is None:
        return False
    if base(through_views(node.args[3])) == "mask":
        return False
    mask, bias = node.args[3:5]
    if value(mask).dtype == torch.bool:
        mask = _chosen(node, mask)
    bias = mask if bias is None else call(node, aten.add.Tensor, bias, mask)
    node.args = (*node.args[:3], None, bias, *node.args[5:])
    return True


def _chosen(like: fx.Node, mask: fx.Node) -> fx.Node:
    hidden = call(like, aten.to.dtype, call(like, aten.logical_not.default, mask), torch.float32)
    return call(like, aten.mul.Tensor, hidden, LOWEST)


def plain_pad(node: fx.Node) -> bool:
    """pad as the model was given it, without casts; none where every key is real."""
    if node.target is not eq.attention.default or arguments(node)["pad"] is None:
        return False
    pad = given = arguments(node)["pad"]
    while base(pad) == "to":
        pad = pad.args[0]
    constant = constant_value(pad.args[0] if base(pad) == "expand" else pad)
    pad = None if constant is not None and bool((constant != 0).all()) else pad
    if pad is given:
        return False
    rest = list(node.args[4:])
    node.args = (*node.args[:3], pad, *rest) if pad is not None or any(a is not None for a in rest) else node.args[:3]
    return True


def raise_grid_bias(node: fx.Node) -> bool:
    """bias = rows[..., :, None] + columns[..., None, :] -> row_bias and column_bias (keys on a grid: SAM, ViTDet)."""
    if node.target is not eq.attention.default or arguments(node)["bias"] is None or len(node.args) > 6:
        return False
    total = bias = arguments(node)["bias"]
    while base(total) in RESHAPES and base(total.args[0]) != "add":
        total = total.args[0]
    total = total.args[0] if base(total) in RESHAPES else total
    if base(total) != "add" or rank(total) < 3 or not isinstance(total.args[1], fx.Node):
        return False
    height, width = shape(total)[-2:]
    if height * width != shape(bias)[-1] or prod(shape(total)) != prod(shape(bias)):
        return False
    parts = {tuple(shape(part)[-2:]): part for part in total.args[:2]}
    rows, columns = parts.get((height, 1)), parts.get((1, width))
    if any(part is None or shape(part)[:-2] != shape(total)[:-2] for part in (rows, columns)):
        return False
    lead = list(shape(bias)[:-1])
    rows = call(node, aten.reshape.default, rows, [*lead, height])
    columns = call(node, aten.reshape.default, columns, [*lead, width])
    sinks = arguments(node)["sinks"]
    node.args = (*node.args[:3], arguments(node)["pad"], None, sinks, rows, columns)
    return True


def fold_query_scale(node: fx.Node) -> bool:
    """attention(reshape(q * c), ...) -> attention(reshape(q), ..., scale * c)"""
    if node.target is not eq.attention.default or base(node.args[0]) != "reshape":
        return False
    view: Any = node.args[0]
    scaled = view.args[0]
    if base(scaled) != "mul" or not is_number(scaled.args[1]) or len(view.users) > 1 or len(scaled.users) > 1:
        return False
    view.args = (scaled.args[0], view.args[1])
    node.kwargs = {**node.kwargs, "scale": node.kwargs["scale"] * float(scaled.args[1])}
    return True
