"""Symbols of a kernel being written: what they range over, and the code that stands for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tvm import ir, tirx
from tvm.sym import Analyzer, detect_linear_equation

from edgeq.kernels.vector import LANES, i32, splat
from edgeq.lower.glue.expression import kind, uses

Expr = Any
Var = Any


class Space:
    """Index arithmetic is done on int64 symbols, simplified with their ranges, and only then turned into int32 code.

    At most one symbol is the *lane*: it stands for the 16 elements of a vector. `valid` is how many of them exist.
    """

    def __init__(self) -> None:
        self.analyzer = Analyzer()
        self.code: dict[Var, Expr] = {}
        self.lane: Var | None = None
        self.valid = LANES
        self._count = 0

    def symbol(self, extent: int, code: Expr = None) -> Var:
        """A new symbol in 0..extent-1, standing for `code`."""
        self._count += 1
        var = tirx.Var(f"i{self._count}", "int64")
        self.analyzer.bind(var, ir.Range(const(0), const(extent)))
        self.code[var] = code
        return var

    @contextmanager
    def lanes(self, valid: int = LANES) -> Iterator[Var]:
        """Inside, a lane symbol in 0..valid-1 exists; lanes beyond repeat the last valid one."""
        assert self.lane is None
        ramp = tirx.Ramp(i32(0), i32(1), LANES)
        var = self.symbol(valid, ramp if valid == LANES else tirx.Min(ramp, splat(valid - 1)))
        self.lane, self.valid = var, valid
        yield var
        self.lane, self.valid = None, LANES

    def simplify(self, e: Expr) -> Expr:
        """The expression in its simplest form under the symbols' ranges."""
        return self.analyzer.simplify(e)

    def varies(self, e: Expr) -> bool:
        """Whether the expression differs between lanes."""
        return self.lane is not None and uses(e, self.lane)

    def stride(self, index: Expr) -> tuple[int | None, Expr]:
        """(step, base) when `index = step * lane + base`, else (None, index)."""
        found = detect_linear_equation(index, [self.lane])
        if len(found) == 2 and kind(step := self.simplify(found[0])) == "IntImm":
            return int(step.value), self.simplify(found[1])
        return None, index

    def upper(self, e: Expr) -> int:
        """An upper bound."""
        return int(self.analyzer.const_int_bound(e).max_value)

    def lower(self, e: Expr) -> int:
        """A lower bound."""
        return int(self.analyzer.const_int_bound(e).min_value)


def const(value: int) -> Expr:
    """An int64 constant."""
    return tirx.IntImm("int64", value)
