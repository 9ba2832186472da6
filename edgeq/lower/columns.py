"""Channels in another order: one call of rows, with the order in the weights file."""

from __future__ import annotations

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.frontend.weights import evaluate
from edgeq.ir.graph import arguments as attrs
from edgeq.ir.graph import hf_name as module
from edgeq.kernels import columns as kernels
from edgeq.lower.node import width
from edgeq.lower.plan import Weight
from edgeq.lower.scope import Scope


def lower_columns(scope: Scope, node: fx.Node) -> None:
    """Gather an activation's channels; in a token entry of one row every thread does it for itself.

    Raises UnsupportedError for an index outside the activation: the kernel would read what is not there.
    """
    x, index = scope.view(attrs(node)["x"]), attrs(node)["index"]
    order = evaluate(index, scope.table.weights)
    if int(order.max()) >= x.width or int(order.min()) < -1:
        raise UnsupportedError(f"{module(node) or node.name}: takes column {int(order.max())} of {x.width}")
    ld = x.ld if x.ld != kernels.padded(x.width) else 0
    kernel = kernels.columns(x.width, width(node), ld)
    weight = Weight(scope.table.index(index))
    scope.env[node] = scope.row_call(kernel, (x, weight), node, width(node), x.rows)
