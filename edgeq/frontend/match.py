"""Structural patterns over fx nodes.

A pattern is a nested tuple `(op, argument patterns...)`; a str is a variable, a list an exact list of numbers, a
callable a predicate, a number or bool a constant. `add` and `mul` are tried both ways round. Ops go by their base name
(`aten.add.Tensor` is "add"), so that overloads need no patterns of their own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import fx

Pattern = tuple | str | list | float | Callable[[Any], bool]
Bindings = dict[str, Any]
COMMUTATIVE = {"add", "mul"}


def base(node: Any) -> str | None:
    """The op's name without namespace and overload; None for what is not a call."""
    if not isinstance(node, fx.Node) or node.op != "call_function":
        return None
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.split("::")[1]
    return "getitem" if target is operator.getitem else getattr(target, "__name__", str(target))


def is_number(x: Any) -> bool:
    """A Python int or float (not a bool, not a symbol)."""
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def value(node: Any) -> Any:
    """The fake value of a node: a tensor, a symbol, or None."""
    return node.meta.get("val") if isinstance(node, fx.Node) else None


def shape(node: Any) -> tuple:
    """Shape of a tensor node; () for anything else."""
    v = value(node)
    return tuple(v.shape) if isinstance(v, torch.Tensor) else ()


def rank(node: Any) -> int:
    """Number of axes; -1 for what is no tensor."""
    v = value(node)
    return v.dim() if isinstance(v, torch.Tensor) else -1


def same_dims(a: tuple, b: tuple) -> bool:
    """Equal shapes, symbols compared by their expression (no guard is added)."""
    return len(a) == len(b) and all(str(x) == str(y) for x, y in zip(a, b, strict=True))


def match(pattern: Pattern, x: Any, bound: Bindings | None = None) -> Bindings | None:
    """Bindings of the pattern's variables that make it equal to x, or None."""
    bound = {} if bound is None else bound
    if isinstance(pattern, str):
        return _match_variable(pattern, x, bound)
    if isinstance(pattern, tuple):
        return _match_call(pattern, x, bound)
    if isinstance(pattern, list):
        return bound if isinstance(x, (list, tuple)) and list(x) == pattern else None
    if callable(pattern):
        return bound if pattern(x) else None
    if isinstance(pattern, bool):
        return bound if x is pattern else None
    return bound if is_number(x) and abs(x - pattern) <= 1e-6 * abs(pattern) else None


def match_any(patterns: list[Pattern], x: Any) -> Bindings | None:
    """The bindings of the first pattern that matches."""
    for pattern in patterns:
        bound = match(pattern, x)
        if bound is not None:
            return bound
    return None


def _match_variable(name: str, x: Any, bound: Bindings) -> Bindings | None:
    if name not in bound:
        return {**bound, name: x}
    old = bound[name]
    same = old is x if isinstance(x, fx.Node) or isinstance(old, fx.Node) else old == x
    return bound if same else None


def _match_call(pattern: tuple, x: Any, bound: Bindings) -> Bindings | None:
    if base(x) != pattern[0] or x.kwargs.get("alpha", 1) != 1:
        return None
    for args in _orders(x):
        found = _match_args(pattern[1:], args, bound)
        if found is not None:
            return found
    return None


def _orders(x: fx.Node) -> Iterator[tuple]:
    yield x.args
    if base(x) in COMMUTATIVE and len(x.args) > 1:
        yield (x.args[1], x.args[0], *x.args[2:])


def _match_args(patterns: tuple, args: tuple, bound: Bindings) -> Bindings | None:
    found: Bindings | None = bound
    if len(patterns) > len(args):
        return None
    for pattern, arg in zip(patterns, args, strict=False):
        if found is None:
            return None
        found = match(pattern, arg, found)
    return found
