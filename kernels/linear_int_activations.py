"""The activations of a step of an ARM linear: loaded four quads at a time, where they are first used."""

from __future__ import annotations

from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group
from edgeq.kernels.linear_int_operands import Operands


class Activations:
    """Quads that meet `count` weight vectors of a group from vector `first` on.

    A quad is named by its nibble (0 low, 1 high: the second half of the group; 8-bit codes have 0 only), its vector,
    and its row.
    """

    def __init__(self, x: Operands, group: Group, first: V.Expr, count: int):
        self.x, self.size = x, count * x.rows
        self.starts = [V.let(x.quad(group) + first * V.i32(x.rows))]
        if x.fmt.bits == 4:
            self.starts.append(V.let(self.starts[0] + V.i32(group.length // 8 * x.rows)))
        self.held: dict[tuple[int, int], V.Expr] = {}

    def quad(self, nibble: int, vector: int, row: int) -> V.Expr:
        """One quad, an int32 scalar that is a lane of a vector (or a scalar load where four would reach too far)."""
        place = vector * self.x.rows + row
        if place // 4 * 4 + 4 > self.size:
            return self.x.quads[self.starts[nibble] + V.i32(place)]
        return V.part(self.vector(nibble, place // 4 * 4), place % 4, 1)

    def pairs(self, nibble: int, vector: int, row: int) -> V.Expr:
        """int32x4: two quads of a row, two of the next, in a panel of pairs."""
        return self.vector(nibble, vector * self.x.rows + 2 * row)

    def vector(self, nibble: int, place: int) -> V.Expr:
        """int32x4: four quads as they lie."""
        if (nibble, place) not in self.held:
            self.held[nibble, place] = V.let(self.x.quads.vector(self.starts[nibble] + V.i32(place), 4))
        return self.held[nibble, place]
