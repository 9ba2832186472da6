"""Rotation of neighbouring pairs: q and k in another order of features, so that the rotate-half op serves.

Attention multiplies q and k feature by feature, so an order that both share means nothing: it is dropped from behind
the rotation, and in front of it becomes an order of the projection's rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx

from edgeq.frontend.fold_constants import hold
from edgeq.frontend.heads import Heads
from edgeq.frontend.match import base
from edgeq.frontend.rewrite import call
from edgeq.frontend.token_major import read_constant

aten, eq = torch.ops.aten, torch.ops.edgeq


def halves_from_pairs(like: fx.Node, flat: fx.Node, heads: Heads, rotated: int) -> fx.Node:
    """Flat `[B,S,H*D]`: the first `rotated` features of every head, even ones first, then odd ones."""
    return _ordered(like, flat, heads, _even_first(rotated))


def pairs_from_halves(like: fx.Node, flat: fx.Node, heads: Heads, rotated: int) -> fx.Node:
    """The inverse order."""
    return _ordered(like, flat, heads, _even_first(rotated).argsort())


def _even_first(rotated: int) -> Tensor:
    return torch.cat([torch.arange(0, rotated, 2), torch.arange(1, rotated, 2)])


def _ordered(like: fx.Node, flat: fx.Node, heads: Heads, first: Tensor) -> fx.Node:
    head = torch.cat([first, torch.arange(len(first), heads.width)])
    order = (torch.arange(heads.heads)[:, None] * heads.width + head).flatten()
    return call(like, aten.index_select.default, flat, 2, hold(like, order, "order"))


def drop_shared_order(node: fx.Node) -> bool:
    """attention(order(q), order(k), v), one order for all heads of both -> attention(q, k, v)"""
    if node.target is not eq.attention.default:
        return False
    q, k = node.args[:2]
    orders = [_head_order(q, node.kwargs["heads"]), _head_order(k, node.kwargs["kv_heads"])]
    if orders[0] is None or orders[1] is None or not torch.equal(orders[0], orders[1]):
        return False
    node.args = (q.args[0], k.args[0], *node.args[2:])
    return True


def _head_order(x: fx.Node, heads: int) -> Tensor | None:
    """i64 `[D]`: the order that index_select gives each head's features; None if heads differ or mix."""
    if base(x) != "index_select" or x.args[1] != 2:
        return None
    order = read_constant(x.args[2]).reshape(heads, -1)
    head = order[0]
    expected = torch.arange(heads)[:, None] * order.shape[1] + head
    return head if torch.equal(order, expected) else None
