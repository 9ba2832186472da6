"""Indexing and writing into slices in one spelling: index_select, where, cat, slice."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import fx

from edgeq.frontend.fold_constants import constant_value, hold
from edgeq.frontend.match import base, rank, shape, value
from edgeq.frontend.rewrite import call, replace

aten = torch.ops.aten


def spell_index(node: fx.Node) -> bool:
    """x[.., ids, ..] with one tensor of ids -> index_select; x[ids, ids] -> one index over both axes."""
    if base(node) != "index":
        return False
    x, given = node.args[0], [(axis, ids) for axis, ids in enumerate(node.args[1]) if ids is not None]
    if any(value(ids).dtype == torch.bool for _, ids in given):
        return False
    if len(given) == 1:
        return _index_select(node, x, *given[0])
    if [axis for axis, _ in given] != [0, 1] or rank(given[0][1]) != rank(given[1][1]):
        return False
    (_, first), (_, second) = given
    flat = call(node, aten.reshape.default, x, [shape(x)[0] * shape(x)[1], *shape(x)[2:]])
    ids = call(node, aten.add.Tensor, call(node, aten.mul.Tensor, first, int(shape(x)[1])), second)
    return _index_select(node, flat, 0, ids)


def _index_select(node: fx.Node, x: fx.Node, axis: int, ids: fx.Node) -> bool:
    constant = constant_value(ids)
    if constant is not None and bool((constant < 0).any()):
        ids = hold(node, constant % int(shape(x)[axis]))
    flat = ids if rank(ids) == 1 else call(node, aten.reshape.default, ids, [prod(shape(ids))])
    picked = call(node, aten.index_select.default, x, axis, flat)
    return replace(node, call(node, aten.reshape.default, picked, list(shape(node))))


def spell_write(node: fx.Node) -> bool:
    """select_scatter -> where over a constant mask; slice_scatter -> cat; copy -> its source."""
    kind = base(node)
    if kind == "copy":
        source = node.args[1]
        if value(source).dtype != value(node).dtype:
            source = call(node, aten.to.dtype, source, value(node).dtype)
        same = shape(source) == shape(node)
        return replace(node, source if same else call(node, aten.expand.default, source, list(shape(node))))
    if kind == "select_scatter":
        x, new, axis, index = node.args
        axis = axis % rank(x)
        here = torch.arange(shape(x)[axis]) == index % shape(x)[axis]
        mask = hold(node, here.reshape([-1] + [1] * (rank(x) - 1 - axis)))
        return replace(node, call(node, aten.where.self, mask, call(node, aten.unsqueeze.default, new, axis), x))
    if kind == "slice_scatter":
        return _slice_scatter(node)
    return False


def _slice_scatter(node: fx.Node) -> bool:
    given: list[Any] = list(node.args)
    x, new, axis, start, stop, step = given + [0, None, None, 1][len(given) - 2 :]
    axis = axis % rank(x)
    size = int(shape(x)[axis])
    start, stop, step = slice(start, stop, step).indices(size)
    if step != 1:
        return False
    before = [call(node, aten.slice.Tensor, x, axis, 0, start)] if start else []
    after = [call(node, aten.slice.Tensor, x, axis, stop, size)] if stop < size else []
    return replace(node, call(node, aten.cat.default, [*before, new, *after], axis))


def spell_roll(node: fx.Node) -> bool:
    """roll along axes -> cat of slices"""
    if base(node) != "roll" or len(node.args) < 3 or not node.args[2]:
        return False
    x = node.args[0]
    for shift, axis in zip(node.args[1], node.args[2], strict=True):
        axis, size = axis % rank(x), int(shape(x)[axis])
        cut = -shift % size
        if cut:
            parts = [call(node, aten.slice.Tensor, x, axis, cut, size), call(node, aten.slice.Tensor, x, axis, 0, cut)]
            x = call(node, aten.cat.default, parts, axis)
    return replace(node, x)
