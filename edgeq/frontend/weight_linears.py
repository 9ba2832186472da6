"""Linears over weights alone (a learned query, projected) become weight expressions: they cost nothing at run time."""

from __future__ import annotations

import torch
from torch import fx

from edgeq.frontend.match import base
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import is_weight

aten = torch.ops.aten


def spell_weight_linear(node: fx.Node) -> bool:
    """linear(x, w, b) of weights -> matmul(x, t(w)) + b"""
    if base(node) != "linear" or not all(is_weight(x) for x in node.all_input_nodes):
        return False
    x, w, *bias = node.args
    product = call(node, aten.matmul.default, x, call(node, aten.t.default, w))
    if bias and bias[0] is not None:
        product = call(node, aten.add.Tensor, product, bias[0])
    return replace(node, product)
