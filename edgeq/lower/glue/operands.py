"""What the conversions read of a node: its type, its shape, its operands."""

from __future__ import annotations

from typing import Any

from torch import fx
from tvm import relax

Expr = Any


def type_of(node: fx.Node) -> str:
    """Element type of a node's value as TVM writes it."""
    return str(node.meta["val"].dtype).removeprefix("torch.")


def shape_of(node: Any) -> tuple[int, ...]:
    """Sizes of a node's value."""
    return tuple(int(d) for d in node.meta["val"].shape)


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front."""
    return axis % rank if rank else 0


def operand(importer: Any, x: Any, wanted: str) -> Expr:
    """A node's value or a number, as a Relax expression of the type `wanted`."""
    if not isinstance(x, fx.Node):
        return relax.const(x, wanted)
    value = importer.env[x]
    return value if type_of(x) == wanted else importer.block_builder.emit(relax.op.astype(value, wanted))
