"""Packed projections: a linear whose features part ways behind layout ops -> one linear for each part."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import fx

from edgeq.frontend import layout
from edgeq.frontend.fold_constants import hold
from edgeq.frontend.layout import Layout, Steps
from edgeq.frontend.match import base, rank, shape
from edgeq.frontend.raising_layout import CHAIN, emit_moves, follow_step
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

aten = torch.ops.aten


class Reader(NamedTuple):
    """A node behind layout ops over a linear; parent: the one before it, None at the linear."""

    node: fx.Node
    parent: fx.Node | None
    steps: Steps | None
    features: frozenset[int] | None


def split_packed(node: fx.Node) -> bool:
    """linear -> layout ops -> parts of its features: every part is a linear over those rows of the weight."""
    if base(node) != "linear" or is_weight(node) or not is_weight(node.args[1]):
        return False
    if not all(base(user) in CHAIN for user in node.users):
        return False
    readers = _readers(node)
    parts = _parts(readers)
    if parts is None or parts == [frozenset(range(shape(node)[-1]))]:
        return False
    within = {reader.node: reader.features for reader in readers}
    first = [r for r in readers if r.features in parts and within.get(r.parent) != r.features]
    for reader in first:
        assert reader.steps is not None
        rows = rows_of(reader.node, node, list(reader.steps.features or ()))
        replace(reader.node, emit_moves(reader.node, rows, reader.steps))
    return bool(first)


def _readers(linear: fx.Node) -> list[Reader]:
    """Every node that layout ops lead to from the linear, in order."""
    whole = layout.contiguous(tuple(shape(linear)))
    found, pending = [], [(user, None, follow_step(whole, user)) for user in linear.users]
    while pending:
        node, parent, held = pending.pop(0)
        steps = None if held is None else layout.canonical(held, tuple(shape(linear)))
        found.append(Reader(node, parent, steps, _features(linear, steps)))
        pending += [(u, node, _next(held, u)) for u in node.users if base(u) in CHAIN]
    return found


def _next(held: Layout | None, node: fx.Node) -> Layout | None:
    return None if held is None else follow_step(held, node)


def _features(linear: fx.Node, steps: Steps | None) -> frozenset[int] | None:
    if steps is None:
        return None
    return frozenset(range(shape(linear)[-1]) if steps.features is None else steps.features)


def _parts(readers: list[Reader]) -> list[frozenset[int]] | None:
    """The features that ends of chains read, the largest sets of them; None unless those are apart from each other."""
    ends = [r for r in readers if any(base(user) not in CHAIN for user in r.node.users)]
    read = {r.features for r in ends}
    if None in read or not read:
        return None
    sets = [s for s in read if s is not None]
    parts = [s for s in sets if not any(s < other for other in sets)]
    return parts if sum(map(len, parts)) == len(frozenset().union(*parts)) else None


def rows_of(like: fx.Node, linear: fx.Node, features: list[int]) -> fx.Node:
    """The linear over the rows `features` of its weight and bias."""
    parts = [pick(like, w, 0, features) for w in linear.args[1:] if w is not None]
    rows = call(like, aten.linear.default, linear.args[0], *parts)
    rows.meta["hf"] = linear.meta["hf"]
    return rows


def pick(like: fx.Node, x: fx.Node, axis: int, features: list[int]) -> fx.Node:
    """Indices of an axis: a slice where they are adjacent."""
    first, count = features[0], len(features)
    if features == list(range(first, first + count)):
        return call(like, aten.slice.Tensor, x, axis % rank(x), first, first + count)
    return call(like, aten.index_select.default, x, axis % rank(x), hold(like, torch.tensor(features), "rows"))
