"""Raising what only decoders with an encoder hold: position rows by index, biases on logits, score biases."""

from __future__ import annotations

import torch
from torch import fx

from edgeq.frontend.distance_bias import bias_by_distance
from edgeq.frontend.graph import raise_graph
from edgeq.frontend.match import base, rank, shape
from edgeq.frontend.raising_linear import raise_bias
from edgeq.frontend.rewrite import Rule, apply, call, replace
from edgeq.ir.graph import is_weight

aten, eq = torch.ops.aten, torch.ops.edgeq


def raise_decoder(gm: fx.GraphModule) -> None:
    """`raise_graph`, then the rules of this file, in place."""
    raise_graph(gm)
    apply(gm, RULES)
    gm.graph.lint()
    gm.recompile()


def rows_by_index(node: fx.Node) -> bool:
    """w[ids] with a weight `[N, K]` -> embedding(w, ids)"""
    if base(node) != "index" or not is_weight(node.args[0]) or rank(node.args[0]) != 2 or len(node.args[1]) != 1:
        return False
    return replace(node, call(node, aten.embedding.default, node.args[0], node.args[1][0]))


def flat_bias(node: fx.Node) -> bool:
    """linear(x, w) + b with b `[1, N]` -> with b `[N]`"""
    if base(node) != "add" or not all(isinstance(x, fx.Node) for x in node.args[:2]):
        return False
    linear, bias = node.args[:2]
    width = shape(node)[-1]
    if base(linear) != "linear" or not is_weight(bias) or shape(bias) != (1, width):
        return False
    node.args = (linear, call(node, aten.reshape.default, bias, [width]))
    node.meta["hf"] = linear.meta["hf"]
    return raise_bias(node)


def no_zero_bias(node: fx.Node) -> bool:
    """A score bias of zeros is none."""
    if node.target is not eq.attention.default or len(node.args) < 5 or base(node.args[4]) != "zeros":
        return False
    node.args = (*node.args[:4], None, *node.args[5:])
    return True


RULES: list[Rule] = [rows_by_index, flat_bias, no_zero_bias, bias_by_distance]
