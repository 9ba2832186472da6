"""Decisions about a linear are kept by its weight, which is the same in every entry of a model."""

from __future__ import annotations

from torch import fx

from edgeq.ir.graph import arguments, op
from edgeq.passes.folds.channels import stored_names


def key_of(linear: fx.Node) -> str:
    """The weight of a linear as an expression over stored tensors, the same in every entry of a model."""
    return _text(arguments(linear)["weight"])


def _text(node: object) -> str:
    if not isinstance(node, fx.Node):
        return str([_text(x) for x in node] if isinstance(node, list | tuple) else node)
    if node.op == "get_attr":
        return str(node.target) if stored_names(node) else "table"  # tables of a grid are named after its linear
    return f"{op(node)}({', '.join(map(_text, node.args))})"
