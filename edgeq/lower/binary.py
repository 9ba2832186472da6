"""Linears of signs times signs (`w1a1`): activations packed a bit each, one GEMV or GEMM that counts bits.

A norm before one is computed, not fused: its values are needed twice, for their mean and for their signs.
"""

from __future__ import annotations

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import arguments as attrs
from edgeq.ir.graph import hf_name as module
from edgeq.kernels import binary, binary_rows
from edgeq.kernels.binary_pack import row_bytes
from edgeq.lower import linear
from edgeq.lower.node import width
from edgeq.lower.plan import NULL, PRIVATE, Weight
from edgeq.lower.scope import Scope
from edgeq.lower.values import Buffer, View
from edgeq.lower.weights import padded


def lower_binary(scope: Scope, node: fx.Node) -> None:
    """Lower an `edgeq.qlinear` of signs with everything fused into it; binds the node that the fused call computes.

    All rows go through in one pass, also an image's: they are an eighth of int8's, and where a row of signs lies
    differs by instruction set, so that a plan cannot start at one.
    """
    a, end = attrs(node), linear.epilogue(scope, node)
    x = scope.view(a["x"])
    if x.rows > 1 and x.ld != padded(x.width):
        raise UnsupportedError(f"{module(node)}: its input is columns of a wider tensor; act a1 reads whole rows")
    weight = Weight(scope.table.signs(a["w"], end.gated, a["w_scale"]))
    bias = Weight(scope.table.vector(a["bias"], end.gated)) if a["bias"] is not None else NULL
    signs = _signs(scope, a["x"], x, node)
    out = linear.output_view(scope, node, end, x.rows)
    shape = (width(node), width(a["x"]), end.text, a["bias"] is not None)
    kernel = binary.gemv(*shape) if x.rows == 1 else binary.gemm(*shape, *((out.ld,) if node in scope.places else ()))
    head = () if x.rows == 1 else (scope.count(x.rows),)
    args = (*head, weight, bias, *signs, end.residual or NULL, out)
    scope.call(kernel, args, linear.split_of(scope, node, end, out), end.node if module(end.node) else node)
    linear.bind(scope, node, end, out)


def _signs(scope: Scope, node: fx.Node, x: View, linear: fx.Node) -> tuple[Buffer, ...]:
    """Signs and scale of x, packed once for linears that share them."""
    key = (node, 0, -1, 0, None)  # no zero point is negative
    if key not in scope.quantized:
        one, k = x.rows == 1, width(node)
        out = tuple(
            scope.buffer(name, size, x.rows, private=one) for name, size in (("signs", row_bytes(k)), ("scale", 4))
        )
        kernel = binary_rows.pack_row(k) if one else binary_rows.pack_rows(k)
        count = () if one else (scope.count(x.rows),)
        scope.call(kernel, (*count, x, *out), PRIVATE if one else scope.by_blocks(x.rows), linear)
        scope.quantized[key] = out
    return scope.quantized[key]
