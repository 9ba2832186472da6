"""Hadamard rotations: one call of rows, with the signs of the size's dense part in the weights file, once a size."""

from __future__ import annotations

from torch import fx

from edgeq.ir.graph import arguments as attrs
from edgeq.kernels import hadamard as kernels
from edgeq.lower.plan import NULL, Arg, Weight
from edgeq.lower.scope import Scope


def lower_hadamard(scope: Scope, node: fx.Node) -> None:
    """Rotate an activation; in a token entry of one row every thread does it for itself, as it quantizes."""
    x, size = scope.view(attrs(node)["x"]), int(attrs(node)["size"])
    signs = kernels.signs(size)
    w: Arg = Weight(scope.table.constant(f"hadamard.{len(signs)}", signs)) if len(signs) > 1 else NULL
    scope.env[node] = scope.row_call(kernels.hadamard(x.width, size), (x, w), node, x.width, x.rows)
