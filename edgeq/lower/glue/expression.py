"""TVM's scalar expressions: walking, substituting, asking what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tvm import ir, tirx

Expr = Any
Var = Any
_BINARY = (
    "Add", "Sub", "Mul", "Div", "Mod", "FloorDiv", "FloorMod", "Min", "Max",
    "EQ", "NE", "LT", "LE", "GT", "GE", "And", "Or", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "LShift", "RShift",
)  # fmt: skip


def kind(e: Expr) -> str:
    """Name of the node's class: `Add`, `TensorLoad`, ..."""
    return type(e).__name__


def called(e: Expr) -> str:
    """The op of a call without its namespace, `exp`; "" of anything else."""
    return e.op.name.rpartition(".")[2] if kind(e) == "Call" and hasattr(e.op, "name") else ""


def dtype_of(e: Expr) -> str:
    """Element type, `float32`."""
    return str(e.ty.dtype)


def is_float(e: Expr) -> bool:
    """Whether the expression is a floating-point number."""
    return dtype_of(e).startswith("float")


def children(e: Expr) -> tuple[Expr, ...]:
    """Operands."""
    name = kind(e)
    if name in _BINARY:
        return (e.a, e.b)
    if name == "Select":
        return (e.condition, e.true_value, e.false_value)
    if name == "Cast":
        return (e.value,)
    if name in ("Not", "BitwiseNot"):
        return (e.a,)
    if name == "Call":
        return tuple(e.args)
    if name == "TensorLoad":
        return tuple(e.indices)
    if name == "Let":
        return (e.value, e.body)
    return ()


def nodes(e: Expr) -> Iterator[Expr]:
    """The expression and everything below."""
    yield e
    for child in children(e):
        yield from nodes(child)


def loads(e: Expr) -> list[Expr]:
    """Every read of memory, from left to right."""
    return [n for n in nodes(e) if kind(n) == "TensorLoad"]


def uses(e: Expr, var: Var) -> bool:
    """Whether `var` occurs."""
    return any(n.same_as(var) for n in nodes(e))


def substitute(e: Expr, binding: Mapping[Var, Expr]) -> Expr:
    """Variables replaced by expressions, everywhere."""
    return rebuild(e, lambda n: binding.get(n) if kind(n) == "Var" else None) if binding else e


def rebuild(e: Expr, replace: Callable[[Expr], Expr | None]) -> Expr:
    """The expression with every node that `replace` answers for replaced; what is unchanged is shared."""
    new = replace(e)
    if new is not None:
        return new
    old = children(e)
    fresh = tuple(rebuild(child, replace) for child in old)
    return e if all(a is b for a, b in zip(old, fresh, strict=True)) else _with_children(e, fresh)


def _with_children(e: Expr, parts: tuple[Expr, ...]) -> Expr:
    name = kind(e)
    if name in _BINARY:
        return getattr(tirx, name)(*parts)
    if name == "Select":
        return tirx.Select(*parts)
    if name == "Cast":
        return tirx.Cast(dtype_of(e), *parts)
    if name in ("Not", "BitwiseNot"):
        return getattr(tirx, name)(*parts)
    if name == "TensorLoad":
        return tirx.BufferLoad(e.source, list(parts))
    if name == "Let":
        return tirx.Let(e.var, *parts)
    return ir.Call(e.op, list(parts), attrs=e.attrs, ty_args=e.ty_args, ret_ty=e.ty)
