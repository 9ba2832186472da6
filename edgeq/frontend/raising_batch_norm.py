"""Batch norm of inference -> a product and a sum; those, and every scaled or shifted linear -> the linear's weights."""

from __future__ import annotations

import torch
from torch import fx

from edgeq.frontend.match import base, match, rank, shape
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

aten = torch.ops.aten


def raise_batch_norm(node: fx.Node) -> bool:
    """batch_norm with running statistics -> x * scale + shift over axis 1, both weight expressions `[C, 1, ...]`."""
    if base(node) != "batch_norm" or node.args[5] is not False or node.args[3] is None:
        return False
    x, gamma, beta, mean, variance, _, _, eps = node.args[:8]
    if not is_weight(mean) or not is_weight(variance):
        return False
    scale = call(node, aten.rsqrt.default, call(node, aten.add.Tensor, variance, float(eps)))
    scale = scale if gamma is None else call(node, aten.mul.Tensor, gamma, scale)
    shift = call(node, aten.neg.default, call(node, aten.mul.Tensor, mean, scale))
    shift = shift if beta is None else call(node, aten.add.Tensor, beta, shift)
    sizes = [int(shape(x)[1])] + [1] * (rank(x) - 2)
    scale, shift = (call(node, aten.reshape.default, w, sizes) for w in (scale, shift))
    return replace(node, call(node, aten.add.Tensor, call(node, aten.mul.Tensor, x, scale), shift))


def fold_scale(node: fx.Node) -> bool:
    """linear(x, w, b) * s -> linear(x, w * s, b * s) of a weight s `[N]`"""
    found = match(("mul", lambda a: _own_linear(a), "s"), node)
    if not found or not _vector(found["s"], node):
        return False
    product = next(a for a in node.args[:2] if a is not found["s"])
    x, w, *bias = product.args
    scale = found["s"] if rank(found["s"]) == 1 else call(node, aten.reshape.default, found["s"], [shape(node)[-1]])
    rows = call(node, aten.mul.Tensor, w, call(node, aten.reshape.default, scale, [int(shape(w)[0]), 1]))
    scaled = [call(node, aten.mul.Tensor, b, scale) for b in bias if b is not None]
    new = call(node, aten.linear.default, x, rows, *scaled)
    new.meta["hf"] = product.meta["hf"]
    return replace(node, new)


def fold_shift(node: fx.Node) -> bool:
    """linear(x, w, b) + s -> linear(x, w, b + s) of a weight s `[N]`"""
    found = match(("add", lambda a: _own_linear(a), "s"), node)
    if not found or not _vector(found["s"], node):
        return False
    product = next(a for a in node.args[:2] if a is not found["s"])
    x, w, *bias = product.args
    shift = found["s"] if rank(found["s"]) == 1 else call(node, aten.reshape.default, found["s"], [shape(node)[-1]])
    if bias and bias[0] is not None:
        shift = call(node, aten.add.Tensor, bias[0], shift)
    new = call(node, aten.linear.default, x, w, shift)
    new.meta["hf"] = product.meta["hf"]
    return replace(node, new)


def fold_grouped(node: fx.Node) -> bool:
    """conv2d(x, w, b) * s -> conv2d(x, w * s, b * s), + s -> b + s, of a weight s `[O, 1, 1]`."""
    kind = base(node)
    convolution, s = node.args[:2] if kind in ("mul", "add") else (None, None)
    if base(convolution) not in ("conv2d", "conv1d") or len(convolution.users) != 1 or not is_weight(s):  # type: ignore
        return False
    axes, outputs = rank(node) - 2, shape(node)[1]
    if [1] * (rank(node) - rank(s)) + list(shape(s)) != [1, outputs] + [1] * axes:
        return False
    x, w, *rest = convolution.args  # type: ignore[union-attr]
    bias = rest[0] if rest else None
    vector = call(node, aten.reshape.default, s, [outputs])
    if kind == "mul":
        w = call(node, aten.mul.Tensor, w, call(node, aten.reshape.default, s, [outputs] + [1] * (axes + 1)))
        bias = None if bias is None else call(node, aten.mul.Tensor, bias, vector)
    else:
        bias = vector if bias is None else call(node, aten.add.Tensor, bias, vector)
    new = call(node, convolution.target, x, w, bias, *rest[1:], **convolution.kwargs)  # type: ignore[union-attr]
    new.meta["hf"] = convolution.meta["hf"]  # type: ignore[union-attr]
    return replace(node, new)


def _own_linear(node: object) -> bool:
    return base(node) == "linear" and len(node.users) == 1 and not is_weight(node)  # type: ignore[attr-defined]


def _vector(s: object, node: fx.Node) -> bool:
    """A weight with one number for each feature of the node."""
    sizes = shape(s)
    return is_weight(s) and len(sizes) > 0 and sizes[-1] == shape(node)[-1] and all(n == 1 for n in sizes[:-1])
