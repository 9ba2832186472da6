"""Who computes what in a static graph: our kernels, memory alone (views), or glue."""

from __future__ import annotations

from torch import fx

from edgeq.ir.graph import arguments, is_weight, op
from edgeq.lower.linear import ACTIVATIONS
from edgeq.lower.node import only_user, shape

KERNELS = frozenset(
    (
        "edgeq.qlinear", "edgeq.qembedding", "aten.layer_norm", "edgeq.rms_norm", "edgeq.gated", "edgeq.attention",
        "edgeq.im2col", "edgeq.hadamard", "edgeq.columns", "edgeq.sign_heads", "edgeq.store_keys",
        "edgeq.count_keys",
    )
)  # fmt: skip
VIEWS = ("aten.reshape", "aten.unsqueeze", "aten.squeeze")


def claim(graph: fx.Graph) -> set[fx.Node]:
    """Calls that are not glue: those with kernels of ours, what such a kernel takes in, and views between them."""
    ours: set[fx.Node] = set()
    nodes = [n for n in graph.nodes if n.op == "call_function" and not is_weight(n)]
    for node in nodes:
        if op(node) in KERNELS or _is_activation(node, ours) or _is_residual(node) or _is_part(node):
            ours.add(node)
    while views := {n for n in nodes if n not in ours and _is_view(n, ours)}:
        ours |= views
    return ours


def _is_activation(node: fx.Node, ours: set[fx.Node]) -> bool:
    """An activation over what a kernel of ours computes; over glue it is fused there."""
    return op(node) in ACTIVATIONS and node.args[0] in ours


def _is_residual(node: fx.Node) -> bool:
    """An addition that a linear can do as it writes its result."""
    if op(node) != "aten.add" or arguments(node)["alpha"] != 1:
        return False
    sides = node.args[:2]
    if any(not isinstance(x, fx.Node) or is_weight(x) or shape(x) != shape(node) for x in sides):
        return False
    return any(op(x) == "edgeq.qlinear" and only_user(x) is node for x in sides)  # type: ignore[arg-type]


def _is_part(node: fx.Node) -> bool:
    """Columns of a linear (merged projections)."""
    if op(node) != "aten.slice":
        return False
    given = arguments(node)
    last = given["dim"] in (-1, len(shape(node)) - 1)
    return op(given["self"]) == "edgeq.qlinear" and last and given["step"] == 1 and int(given["start"] or 0) % 16 == 0


def _is_view(node: fx.Node, ours: set[fx.Node]) -> bool:
    """A reshape between kernels of ours that moves nothing: the rows stay the rows."""
    if op(node) not in VIEWS:
        return False
    source = node.args[0]
    if not isinstance(source, fx.Node) or (source not in ours and source.op != "placeholder"):
        return False
    if any(user not in ours and user.op != "output" for user in node.users):
        return False
    widths = [(shape(n) or (1,))[-1] for n in (source, node)]
    return widths[0] == widths[1] or all(w % 16 == 0 for w in widths)

