"""Writing rows of a stage: vectors along the last axis, or one element after another."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from tvm import tirx

from edgeq.kernels.vector import LANES, Reg, f32, i32, lanes_of, let, part, select, splat
from edgeq.lower.glue.axes import cuts
from edgeq.lower.glue.expression import loads, substitute
from edgeq.lower.glue.memory import Slot
from edgeq.lower.glue.reduction import counted, reduce
from edgeq.lower.glue.space import const
from edgeq.lower.glue.stage import Stage
from edgeq.lower.glue.transpose import load_blocks
from edgeq.lower.glue.value import Binding, Evaluator, convert

Expr = Any
Var = Any


QUAD = 4  # vectors; pieces of a row are whole quads, whatever number of vectors an ISA takes together
ELEMENTS = 4


class Rows:
    """Writes rows of one stage into its slot. `axis` runs over lanes; with `summed` the lanes are a reduced axis and
    results are written one by one; `vectors` and `columns` are how many of each are computed together."""

    def __init__(self, evaluator: Evaluator, stage: Stage, axis: int | None, summed: Var | None, vectors: int = 1):
        self.ev, self.stage, self.axis, self.summed = evaluator, stage, axis, summed
        self.slot: Slot = evaluator.slots[stage.buffer]
        self.vectors = vectors
        self.width = stage.shape[axis] if axis is not None else 1

    @property
    def lane_var(self) -> Var:
        """The variable of the lane axis."""
        assert self.axis is not None
        return self.stage.vars[self.axis]

    def write(self, rows: Sequence[Binding]) -> None:
        """Whole rows, given what every axis but the lane axis is bound to."""
        self.clear(rows)
        if self.summed is not None or self.axis is None:
            self._elements(rows)
            return
        edges = cuts(self.stage, self.axis, self.ev.inlined)
        for begin, end in itertools.pairwise(edges):
            self._segment(rows, begin, end)

    def clear(self, rows: Sequence[Binding]) -> None:
        """Zero the lanes after the last element (and some before, which are about to be written)."""
        layout = self.slot.layout
        if layout.row_stride == layout.width or layout.skip:
            return
        zero = splat(f32(0.0) if layout.dtype == "f32" else i32(0))
        for row in rows:
            start = {**row, **{v: const(0) for v in self.stage.vars[-1:]}}
            self._put(start, zero, layout.row_stride - LANES)

    def span(self, rows: Sequence[Binding], first: Expr, last: Expr, quads: int) -> None:
        """Groups first..last-1 (code) of `quads` groups of four whole vectors."""
        times = QUAD // self.vectors
        with counted(self.ev, quads * times, first * i32(times), last * i32(times)) as j:
            self._vectors(rows, j, const(0), self.vectors)

    def after(self, rows: Sequence[Binding], quads: int) -> None:
        """What comes after `quads` groups of four whole vectors."""
        for k in range(quads * QUAD, self.width // LANES):
            self._vectors(rows, const(0), const(k * LANES), 1)
        self.tail(rows, 0, self.width)

    def elements(self, rows: Sequence[Binding], first: Expr, last: Expr) -> None:
        """Steps first..last-1 (code) along a row that is written element by element."""
        self._elements(rows, first, last)

    @property
    def together(self) -> int:
        """Neighbouring elements computed together where a row is written element by element."""
        return ELEMENTS if self.width >= ELEMENTS and self.summed is not None else 1

    def tail(self, rows: Sequence[Binding], begin: int, end: int) -> None:
        """What is left of begin..end after whole vectors."""
        rest = (end - begin) % LANES
        if rest and end - begin >= LANES:
            self._vectors(rows, const(0), const(end - LANES), 1)
        elif rest:
            with self.ev.scope(), self.ev.space.lanes(rest) as lane:
                self._partial(rows, begin, end, lane)

    def _segment(self, rows: Sequence[Binding], begin: int, end: int) -> None:
        whole = (end - begin) // LANES
        grouped = whole // self.vectors
        if grouped:
            with counted(self.ev, grouped) as j:
                self._vectors(rows, j, const(begin), self.vectors)
        for k in range(grouped * self.vectors, whole):
            self._vectors(rows, const(0), const(begin + k * LANES), 1)
        self.tail(rows, begin, end)

    def _vectors(self, rows: Sequence[Binding], j: Expr, begin: Expr, count: int) -> None:
        """`count` neighbouring vectors of every row, the j-th such group after `begin`."""
        with self.ev.scope(), self.ev.space.lanes() as lane:
            starts = [j * const(count * LANES) + begin + const(k * LANES) for k in range(count)]
            places = [{**row, self.lane_var: s + lane} for row in rows for s in starts]
            load_blocks(self.ev, self.stage, places)
            for place, value in zip(places, self.values(places), strict=True):
                self._put(place, value)

    def _partial(self, rows: Sequence[Binding], begin: int, end: int, lane: Var) -> None:
        rest, layout = end - begin, self.slot.layout
        places = [{**row, self.lane_var: lane + const(begin)} for row in rows]
        load_blocks(self.ev, self.stage, places)
        for place, value in zip(places, self.values(places), strict=True):
            if end == layout.width and self.axis == len(layout.shape) - 1 and begin + LANES <= layout.row_stride:
                keep = tirx.Ramp(i32(0), i32(1), LANES) < splat(rest)
                value = splat(value) if lanes_of(value) == 1 else value
                self._put(place, select(keep, value, splat(f32(0.0) if layout.dtype == "f32" else i32(0))))
                continue
            value = let(splat(value) if lanes_of(value) == 1 else value)
            for k in range(rest):
                at = {**place, self.lane_var: const(begin + k)}
                self._put(at, part(value, k, 1))

    def _elements(self, rows: Sequence[Binding], first: Expr = 0, last: Expr = None) -> None:
        """One element at a time along the last axis; four together where sums can share what they read."""
        if self.axis is None:
            self._some(rows)
            return
        var, count = self.lane_var, self.together
        steps = -(-self.width // count)
        with self.ev.scope(), counted(self.ev, steps, first, last) as j:
            start = overlapped(self.ev, j, steps, count, self.width)
            self._some([{**row, var: start + const(k)} for row in rows for k in range(count)])

    def _some(self, places: Sequence[Binding]) -> None:
        with self.ev.scope():
            for place, value in zip(places, self.values(places), strict=True):
                self._put(place, value)

    def values(self, places: Sequence[Binding]) -> list[Expr]:
        """The stage's values at several places; reductions that it reads are computed for all of them together."""
        if self.stage.reduce:
            return [self._stored(v) for v in reduce(self.ev, self.stage, places, self.summed)]
        self._hoist(self.stage, places)
        return [self._stored(self.ev.value(self.stage.value, p)) for p in places]

    def _hoist(self, stage: Stage, places: Sequence[Binding]) -> None:
        for load in loads(stage.value):
            inner = self.ev.inlined.get(load.source)
            if inner is None:
                continue
            at = [[self.ev.space.simplify(substitute(i, p)) for i in load.indices] for p in places]
            below = [dict(zip(inner.vars, indices, strict=True)) for indices in at]
            if not inner.reduce:
                self._hoist(inner, below)
            elif self.ev.known(inner.buffer, tuple(at[0])) is None:
                for indices, value in zip(at, reduce(self.ev, inner, below, self.summed), strict=True):
                    value = convert("int32", "bool", value) if inner.dtype == "bool" else value
                    self.ev.keep(inner.buffer, tuple(indices), value)

    def _stored(self, value: Expr) -> Expr:
        """As memory holds it."""
        if self.stage.reduce or self.stage.dtype != "bool":
            return value
        return convert("bool", "int32", value)

    def _put(self, place: Binding, value: Expr, extra: int = 0) -> None:
        space = self.ev.space
        flat = space.simplify(self.slot.layout.flat([place.get(v, const(0)) for v in self.stage.vars]) + const(extra))
        base = space.stride(flat)[1] if space.varies(flat) else flat
        vector = space.varies(flat) or lanes_of(value) > 1
        if vector and lanes_of(value) == 1:
            value = splat(value)
        self.slot.memory.store(self.ev.value(base, {}), value)


def overlapped(ev: Evaluator, j: Expr, steps: int, count: int, extent: int) -> Expr:
    """Start of the j-th tile of `count`; the last one is moved back so that it is whole."""
    if extent % count == 0:
        return j * const(count)
    start = Reg("int32", ev.value(tirx.min(j * const(count), const(extent - count)), {}), 1)
    return ev.space.symbol(extent - count + 1, start.v)
