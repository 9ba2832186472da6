"""TVM's PrimFuncs read as stages: one buffer each, one expression an element, perhaps reduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tvm import tirx

from edgeq.errors import UnsupportedError
from edgeq.lower.glue.expression import kind, loads

Expr = Any
Var = Any
COMBINE = {"Add": "add", "Max": "max", "Min": "min", "Mul": "mul", "And": "and", "Or": "or"}


@dataclass(eq=False)
class Stage:
    """`buffer[vars] = value`, or `buffer[vars] = combine over reduce of value`, from `init`."""

    buffer: Var
    shape: tuple[int, ...]
    dtype: str
    vars: tuple[Var, ...]
    value: Expr
    reduce: tuple[tuple[Var, int], ...] = ()
    combine: str = ""
    init: Expr | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def work(self) -> int:
        """Number of times that the value is evaluated."""
        return self.size * prod(extent for _, extent in self.reduce)


@dataclass(frozen=True)
class Function:
    """A PrimFunc: parameters that are read, parameters that are written, and stages in order."""

    name: str
    inputs: tuple[Var, ...]
    outputs: tuple[Var, ...]
    stages: tuple[Stage, ...]


def read(name: str, function: Any) -> Function:
    """Take a scheduled-by-nobody PrimFunc apart; raises UnsupportedError when it is not made of plain stages."""
    stages = tuple(_stage(name, block) for block in _blocks(name, function.body))
    written = [s.buffer for s in stages]
    outputs = tuple(p for p in function.params if any(p.same_as(w) for w in written))
    inputs = tuple(p for p in function.params if not any(p.same_as(o) for o in outputs))
    return Function(name, inputs, outputs, stages)


def _blocks(name: str, statement: Any) -> list[Any]:
    """The innermost blocks, in order of execution."""
    if isinstance(statement, tirx.SeqStmt):
        return [block for part in statement.seq for block in _blocks(name, part)]
    if isinstance(statement, tirx.For):
        return _blocks(name, statement.body)
    if hasattr(statement, "block"):
        inner = statement.block
        return [inner] if inner.iter_vars else _blocks(name, inner.body)
    if isinstance(statement, tirx.BufferStore):
        return [statement]
    raise UnsupportedError(
        f"TVM's {name} is not a plain loop nest ({type(statement).__name__}); edgeq cannot schedule it"
    )


def _stage(name: str, block: Any) -> Stage:
    store = block if isinstance(block, tirx.BufferStore) else block.body
    if not isinstance(store, tirx.BufferStore):
        raise UnsupportedError(f"TVM's {name} writes several tensors in one loop; edgeq cannot schedule it")
    iters = () if store is block else tuple(block.iter_vars)
    reduce = tuple((i.var, int(i.dom.extent)) for i in iters if i.iter_type == tirx.IterVar.CommReduce)
    shape = tuple(int(d) for d in store.buffer.shape)
    dtype = str(store.buffer.dtype)
    order = _axes(name, store.indices, iters)
    if not reduce:
        return Stage(store.buffer, shape, dtype, order, store.value)
    combine, value = _combination(name, store)
    return Stage(store.buffer, shape, dtype, order, value, reduce, combine, block.init.value)


def _axes(name: str, indices: Sequence[Expr], iters: Sequence[Any]) -> tuple[Var, ...]:
    """The stage's variables in the order of the buffer's axes."""
    if iters and not all(any(index.same_as(i.var) for i in iters) for index in indices):
        raise UnsupportedError(f"TVM's {name} scatters its results; edgeq cannot schedule it")
    return tuple(indices) if iters else ()


def _combination(name: str, store: Any) -> tuple[str, Expr]:
    """`max(buffer[i], x)` -> (max, x)."""
    value = store.value
    if kind(value) in COMBINE:
        mine = [any(load.source.same_as(store.buffer) for load in loads(side)) for side in (value.a, value.b)]
        if mine[0] != mine[1]:
            return COMBINE[kind(value)], value.b if mine[0] else value.a
    raise UnsupportedError(f"TVM's {name} reduces by {kind(value)}; edgeq cannot schedule it")
