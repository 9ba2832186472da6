"""Norms: left to the quantization in the linears that read them, or computed row by row when something else does."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from edgeq.ir.graph import arguments as attrs
from edgeq.ir.graph import op
from edgeq.kernels import norm as norm_kernels
from edgeq.lower.node import width
from edgeq.lower.plan import NULL, Weight
from edgeq.lower.scope import Scope
from edgeq.lower.values import View


@dataclass(frozen=True)
class Norm:
    """A norm that has not been computed: what it reads and its parameters; kind None is the identity."""

    view: View
    kind: str | None = None
    weight: fx.Node | None = None
    bias: fx.Node | None = None
    eps: float = 0.0
    offset: float = 0.0


def lower_norm(scope: Scope, node: fx.Node) -> None:
    """Bind a norm: deferred when every reader is an int8 linear that can fuse it, else computed."""
    norm = _describe(scope, node)
    fusible = attrs(node).get("heads", 1) == 1 and all(_fuses(u, node) for u in node.users)
    scope.env[node] = norm if fusible else _compute(scope, node, norm)


def _fuses(user: fx.Node, norm: fx.Node) -> bool:
    return op(user) == "edgeq.qlinear" and attrs(user)["act"] in ("a8", "a8s") and attrs(user)["x"] is norm


def _describe(scope: Scope, node: fx.Node) -> Norm:
    a = attrs(node)
    if op(node) == "edgeq.rms_norm":
        return Norm(scope.view(a["x"]), "rms", a["w"], a["b"], float(a["eps"]), float(a["offset"]))
    return Norm(scope.view(a["input"]), "layer", a["weight"], a["bias"], float(a["eps"]), 0.0)


def _compute(scope: Scope, node: fx.Node, norm: Norm) -> View:
    heads, given = attrs(node).get("heads", 1), (norm.weight is not None, norm.bias is not None)
    assert norm.kind is not None
    kernel = norm_kernels.norm(width(node), norm.kind, norm.eps, norm.offset, heads, *given)
    weights = tuple(Weight(scope.table.vector(w)) if w is not None else NULL for w in (norm.weight, norm.bias))
    return scope.row_call(kernel, (norm.view, *weights), node, width(node), norm.view.rows)
