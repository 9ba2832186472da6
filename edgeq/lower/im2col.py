"""The patches of a convolution as rows for its linear."""

from __future__ import annotations

from math import prod
from typing import Any

from torch import fx

from edgeq.ir.graph import arguments as attrs
from edgeq.kernels import im2col as im2col_kernels
from edgeq.lower.node import shape, width
from edgeq.lower.plan import Split
from edgeq.lower.scope import Scope

Pair = tuple[int, int]
OPTIONS = ("kernel", "stride", "padding", "dilation")


def lower_im2col(scope: Scope, node: fx.Node) -> None:
    """One call: a unit is a row of output pixels."""
    a = attrs(node)
    x = scope.view(a["x"])
    kernel = im2col_kernels.im2col(*_sizes(a["x"]), x.ld, *_options(a))
    batch, height, columns, _ = shape(node)
    out = scope.tensor("im2col", width(node), prod((batch, height, columns)))
    scope.call(kernel, (x, out), Split("units", batch * height), node)
    scope.env[node] = out


def _sizes(x: fx.Node) -> tuple[int, int, int, int]:
    batch, height, columns, channels = shape(x)
    return batch, height, columns, channels


def _options(a: dict[str, Any]) -> tuple[Pair, Pair, Pair, Pair]:
    kernel, stride, padding, dilation = ((int(a[n][0]), int(a[n][1])) for n in OPTIONS)
    return kernel, stride, padding, dilation
