"""The patches of a convolution as rows for its linear."""

from __future__ import annotations

from math import prod

from torch import fx

from edgeq.ir.graph import arguments as attrs
from edgeq.kernels import im2col as im2col_kernels
from edgeq.lower.node import shape, width
from edgeq.lower.plan import Split
from edgeq.lower.scope import Scope


def lower_im2col(scope: Scope, node: fx.Node) -> None:
    """One call: a unit is a row of output pixels."""
    a = attrs(node)
    x = scope.view(a["x"])
    options = (tuple(int(d) for d in a[name]) for name in ("kernel", "stride", "padding", "dilation"))
    kernel = im2col_kernels.im2col(*shape(a["x"]), x.ld, *options)
    batch, height, columns, _ = shape(node)
    out = scope.tensor("im2col", width(node), prod((batch, height, columns)))
    scope.call(kernel, (x, out), Split("units", batch * height), node)
    scope.env[node] = out
