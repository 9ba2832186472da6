"""Attention of every origin -> the traced attention node -> token-major `edgeq::attention`, its mask as attributes.

Origins: the attention interface (already a node), raw scaled_dot_product_attention, and matmul-softmax-matmul by hand.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from edgeq.frontend.heads import Heads, as_flat, row_sizes
from edgeq.frontend.match import base, is_number, match, rank, shape, value
from edgeq.frontend.rewrite import call, replace

aten, eq = torch.ops.aten, torch.ops.edgeq
trace = torch.ops.edgeq_trace
VIEWS = ("expand", "to", "unsqueeze")


def raise_sdpa(node: fx.Node) -> bool:
    """A raw scaled_dot_product_attention call."""
    if base(node) != "scaled_dot_product_attention":
        return False
    given: list[Any] = list(node.args)
    q, k, v, mask, _, causal = given + [None, 0.0, False][len(given) - 3 :]
    mask, causal = node.kwargs.get("attn_mask", mask), node.kwargs.get("is_causal", causal)
    if isinstance(causal, fx.Node) or (causal and mask is not None):
        return False
    scale = node.kwargs.get("scale")
    scale = float(scale if scale is not None else shape(q)[-1] ** -0.5)
    mask = _causal_mask(node, q, k) if causal else mask
    return _emit_traced(node, (q, k, v), mask, scale)


def _causal_mask(node: fx.Node, q: fx.Node, k: fx.Node) -> fx.Node:
    rows, keys = _length(node, q), _length(node, k)
    like = call(node, aten.select.int, q, 1, 0)
    return call(node, trace.mask.default, like, None, rows, keys, True, -1, -1)


def _length(like: fx.Node, x: fx.Node) -> Any:
    size = shape(x)[2]
    return size if isinstance(size, int) else call(like, aten.sym_size.int, x, 2)


def _emit_traced(node: fx.Node, qkv: tuple, mask: fx.Node | None, scale: float) -> bool:
    """Replace `node` `[B,H,S,Dv]` by a traced attention; an additive mask goes where biases go."""
    additive = mask is not None and value(mask).dtype.is_floating_point
    mask, bias = (None, mask) if additive else (mask, None)
    out = call(node, trace.attention.default, *qkv, mask, bias, None, scale, 0.0)
    return replace(node, call(node, aten.transpose.int, out, 1, 2))


def raise_written_out(node: fx.Node) -> bool:
    """softmax(q k^T * scale + terms) v with four-axis q, k, v."""
    if base(node) != "matmul" or rank(node) != 4:
        return False
    weights = node.args[0]
    while base(weights) in ("to", "expand"):
        weights = weights.args[0]
    if base(weights) not in ("softmax", "_softmax") or weights.args[1] not in (-1, 3):
        return False
    scores = _scores(weights.args[0])
    if scores is None:
        return False
    q, kt, scale, terms = scores
    k = kt.args[0] if base(kt) == "transpose" and {a % 4 for a in kt.args[1:]} == {2, 3} else None
    k = k or call(node, aten.transpose.int, kt, 2, 3)
    bias = terms[0] if terms else None
    for term in terms[1:]:
        bias = call(node, aten.add.Tensor, bias, term)
    return _emit_traced(node, (q, k, node.args[1]), bias, scale)


def _scores(s: Any) -> tuple[fx.Node, fx.Node, float, list[fx.Node]] | None:
    """softmax's input as (q, k^T, scale, added terms), None when it is something else."""
    scale, terms = 1.0, []
    while base(s) in ("add", "mul", "div", "to"):
        a = s.args
        if base(s) == "add" and isinstance(a[1], fx.Node) and scale == 1.0:
            product, term = (a[0], a[1]) if _leads_to_matmul(a[0]) else (a[1], a[0])
            terms.append(term)
            s = product
        elif base(s) == "to":
            s = a[0]
        elif base(s) in ("mul", "div") and is_number(a[1]):
            scale = scale * a[1] if base(s) == "mul" else scale / a[1]
            s = a[0]
        else:
            return None
    return (s.args[0], s.args[1], scale, terms) if base(s) == "matmul" and rank(s) == 4 else None


def _leads_to_matmul(node: Any) -> bool:
    while base(node) in ("mul", "div", "to", "add"):
        node = node.args[0]
    return base(node) == "matmul"


def mask_from_bias(node: fx.Node) -> bool:
    """bias = where(mask, 0, lowest) [+ rest] -> the mask itself, and the rest as the bias"""
    if node.target is not trace.attention.default or node.args[3] is not None or node.args[4] is None:
        return False
    bias, rest = node.args[4], None
    if base(bias) == "add":
        parts = [x for x in bias.args[:2] if isinstance(x, fx.Node)]
        masks = [x for x in parts if _hard_mask(x) is not None]
        if len(masks) == 1 and len(parts) == 2:
            bias, rest = masks[0], next(x for x in parts if x is not masks[0])
    mask = _hard_mask(bias)
    if mask is None:
        return False
    node.args = (*node.args[:3], mask, rest, *node.args[5:])
    return True


def _hard_mask(node: fx.Node) -> fx.Node | None:
    node = through_views(node)
    return node.args[0] if base(node) == "where" and base(through_views(node.args[0])) == "mask" else None


def through_views(node: Any) -> Any:
    """What a chain of casts and broadcasts shows."""
    while base(node) in VIEWS:
        node = node.args[0]
    return node


def flatten_attention(node: fx.Node) -> bool:
    """Traced attention on heads -> edgeq::attention on flat tensors, what is visible as attributes."""
    if node.target is not trace.attention.default:
        return False
    q, k, v, mask, bias, sinks, scale, softcap = node.args
    mask = through_views(mask)
    if mask is not None and base(mask) != "mask":
        return False  # a mask that is no pattern over positions: reported as unsupported
    pad, kind = (None, (False, -1, -1)) if mask is None else (mask.args[1], mask.args[4:7])
    heads, kv_heads = int(shape(q)[1]), int(shape(k)[1])
    q, k, v = (as_flat(node, x, Heads(1, int(shape(x)[1]), int(shape(x)[3]))) for x in (q, k, v))
    optional = [pad, bias, sinks]
    while optional and optional[-1] is None:
        optional.pop()
    options = {"causal": kind[0], "left": kind[1], "right": kind[2], "softcap": float(softcap)}
    flat = call(
        node, eq.attention.default, q, k, v, *optional, heads=heads, kv_heads=kv_heads, scale=scale, **options
    )
    return replace(node, call(node, aten.reshape.default, flat, [*row_sizes(flat), heads, int(shape(node)[3])]))


def fold_query_scale(node: fx.Node) -> bool:
    """attention(q * c, ...) -> attention(q, ..., scale * c); the factor may stand before the rotation."""
    if node.target is not eq.attention.default:
        return False
    q = node.args[0]
    if base(q) == "rope" and len(q.users) == 1:
        q = q.args[0]
    found = match(("mul", "x", is_number), q)
    if not found or len(q.users) != 1:
        return False
    node.kwargs = {**node.kwargs, "scale": node.kwargs["scale"] * float(q.args[1])}
    return replace(q, q.args[0])
