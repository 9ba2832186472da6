"""The activations of a stretch of an ARM linear: loaded four quads at a time, where they are first used."""

from __future__ import annotations

from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group
from edgeq.kernels.linear_int_operands import Operands


class Activations:
    """Quads of a group, counted from quad `first` on (a multiple of 4), and their rows."""

    def __init__(self, x: Operands, group: Group, first: V.Expr):
        self.x = x
        self.start = V.let(x.quad(group) + first * V.i32(x.rows))
        self.held: dict[int, V.Expr] = {}

    def quad(self, number: int, row: int) -> V.Expr:
        """One quad, an int32 scalar that is a lane of a vector."""
        place = number * self.x.rows + row
        return V.part(self._vector(place // 4 * 4), place % 4, 1)

    def pairs(self, number: int, row: int) -> V.Expr:
        """int32x4: two quads (`number` is even) of a row, two of the next, in a panel of pairs."""
        return self._vector(number * self.x.rows + 2 * row)

    def _vector(self, place: int) -> V.Expr:
        """int32x4: four quads as they lie; a group has a multiple of 4, so that none beyond it are read."""
        if place not in self.held:
            self.held[place] = V.let(self.x.quads.vector(self.start + V.i32(place), 4))
        return self.held[place]
