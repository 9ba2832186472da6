"""Reading nodes, beyond `edgeq.ir.graph`: widths, single users, weight expressions as text."""

from __future__ import annotations

from typing import Any

from torch import fx

from edgeq.ir.graph import op
from edgeq.ir.ops.grid import SOURCES


def width(node: fx.Node) -> int:
    """Size of the last axis."""
    return int(node.meta["val"].shape[-1])


def shape(node: fx.Node) -> tuple[int, ...]:
    """Sizes of a node of a static graph."""
    return tuple(int(size) for size in node.meta["val"].shape)


def only_user(node: fx.Node) -> fx.Node | None:
    """The single user of a node, None when there are several."""
    return next(iter(node.users)) if len(node.users) == 1 else None


def expression(node: fx.Node) -> str:
    """A weight expression as text: equal expressions are equal tensors, as long as their constants are."""
    if node.op == "get_attr":
        return " ".join(node.meta[SOURCES]) if SOURCES in node.meta else str(node.target)
    inner = [_argument(a) for a in (*node.args, *node.kwargs.values())]
    return f"{op(node).removeprefix('aten.')}({', '.join(inner)})"


def _argument(a: Any) -> str:
    if isinstance(a, fx.Node):
        return expression(a)
    if isinstance(a, (list, tuple)):
        return "[" + ", ".join(_argument(x) for x in a) + "]"
    return repr(a)
