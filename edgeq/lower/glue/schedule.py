"""The one scheduling rule: units are rows of the result, shared by threads; a row is written vector by vector."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any

from edgeq.kernels.vector import LANES, Memory, Stack, i32, let, loop, when
from edgeq.lower.glue.axes import cuts, lane_axis, summed_axis
from edgeq.lower.glue.group import Group
from edgeq.lower.glue.memory import Layout, Slot, padded
from edgeq.lower.glue.reduction import counted
from edgeq.lower.glue.rows import Rows, overlapped
from edgeq.lower.glue.space import Space, const
from edgeq.lower.glue.stage import Stage
from edgeq.lower.glue.value import Binding, Evaluator, memory_type
from edgeq.targets.isa import Isa

Expr = Any
Var = Any
ROWS = 4  # rows of a matrix product computed together
FEW, MANY = 16, 64  # fewer units than FEW are cut along the row; more than MANY small ones are joined
UNIT_WORK = 1024  # elements (times terms of a sum) that a unit should have


@dataclass(frozen=True)
class Schedule:
    """How a group's work is cut into units.

    `axes` of the root are cut into tiles of `tiles` elements, one unit each, in row-major order; then, with `blocks`
    above 1, every row is cut into so many pieces of `span` vectors. What is left of the root is looped over inside.
    """

    group: Group
    layouts: Mapping[Var, Layout]
    axis: int | None
    summed: Var | None
    axes: tuple[int, ...]
    tiles: tuple[int, ...]
    blocks: int = 1
    span: int = 0

    @property
    def counts(self) -> tuple[int, ...]:
        """Tiles along each of `axes`."""
        shape = self.group.root.shape
        return tuple(-(-shape[a] // t) for a, t in zip(self.axes, self.tiles, strict=True))

    @property
    def units(self) -> int:
        """Number of units."""
        return prod(self.counts) * self.blocks


def schedule(group: Group, layouts: Mapping[Var, Layout]) -> Schedule:
    """Decide how a group is computed."""
    root = group.root
    layouts = {**layouts, **{s.buffer: _local_layout(s, group.prefix) for s in group.local}}
    slots = {buffer: Slot(layout, None) for buffer, layout in layouts.items()}  # type: ignore[arg-type]
    inlined = {s.buffer: s for s in group.inlined}
    axis = lane_axis(root, layouts[root.buffer])
    summed = summed_axis(root, inlined, slots)
    if group.local:
        inner = axis if axis is not None and axis >= group.prefix else None
        return Schedule(group, layouts, inner, summed, tuple(range(group.prefix)), (1,) * group.prefix)
    outer = [a for a in range(len(root.shape)) if a != axis]
    product = bool(root.reduce) or any(s.reduce for s in group.inlined)
    if product:
        return _product(group, layouts, axis, summed, outer)
    return _plain(group, layouts, axis, outer, inlined)


def _product(
    group: Group, layouts: Mapping[Var, Layout], axis: int | None, summed: Var | None, outer: list[int]
) -> Schedule:
    """Sums: a few rows together."""
    tiles = [1] * len(outer)
    if outer and axis is not None:
        inner = max(outer, key=lambda a: (group.root.shape[a] > 1, a))
        tiles[outer.index(inner)] = ROWS if group.root.shape[inner] >= ROWS else 1
    return Schedule(group, layouts, axis, summed, tuple(outer), tuple(tiles))


def _plain(
    group: Group, layouts: Mapping[Var, Layout], axis: int | None, outer: list[int], inlined: Mapping[Var, Stage]
) -> Schedule:
    """Element by element: small rows are joined into a unit, few long ones are cut."""
    shape = group.root.shape
    width = shape[axis] if axis is not None else 1
    work, units = width, prod(shape[a] for a in outer)
    while outer and work < UNIT_WORK and units // shape[outer[-1]] >= MANY:
        units //= shape[outer[-1]]
        work *= shape[outer.pop()]
    plain = Schedule(group, layouts, axis, None, tuple(outer), (1,) * len(outer))
    whole = width // LANES
    if units >= FEW or whole * LANES < 2 * UNIT_WORK or axis is None or len(cuts(group.root, axis, inlined)) > 2:
        return plain
    span = max(UNIT_WORK // LANES, -(-whole // MANY))
    return Schedule(group, layouts, axis, None, tuple(outer), (1,) * len(outer), -(-whole // span), span)


def _local_layout(stage: Stage, prefix: int) -> Layout:
    width = stage.shape[-1] if len(stage.shape) > prefix else 1
    stride = width if width < LANES else padded(width)
    return Layout(stage.shape, "f32" if stage.dtype.startswith("float") else "i32", stride, prefix)


def emit(s: Schedule, memories: Mapping[Var, Memory], isa: Isa, lo: Expr, hi: Expr) -> None:
    """Write the kernel's body."""
    space = Space()
    slots = {buffer: Slot(s.layouts[buffer], memory) for buffer, memory in memories.items()}
    for stage in s.group.local:
        layout = s.layouts[stage.buffer]
        slots[stage.buffer] = Slot(layout, Stack(padded(max(1, layout.elements)), memory_type(stage.dtype)))
    evaluator = Evaluator(space, slots, {stage.buffer: stage for stage in s.group.inlined})
    with loop(lo, hi) as unit, evaluator.scope():
        _unit(s, evaluator, unit, isa)


def _unit(s: Schedule, ev: Evaluator, unit: Expr, isa: Isa) -> None:
    starts, block = _starts(s, ev, unit)
    root = s.group.root
    for stage in s.group.local:
        layout = s.layouts[stage.buffer]
        fixed = {stage.vars[a]: starts[a] for a in s.axes}
        axis = lane_axis(stage, layout) if len(stage.shape) > s.group.prefix else None
        axis = axis if axis is not None and axis >= s.group.prefix else None
        summed = summed_axis(stage, {}, ev.slots) if stage.reduce else None
        _stage(ev, stage, axis, summed, [fixed], isa)
    rows: list[Binding] = [{}]
    for a, tile in zip(s.axes, s.tiles, strict=True):
        rows = [{**row, root.vars[a]: ev.space.simplify(starts[a] + const(k))} for row in rows for k in range(tile)]
    if s.blocks == 1:
        _stage(ev, root, s.axis, s.summed, rows, isa)
    else:
        _piece(s, ev, rows, block)


def _starts(s: Schedule, ev: Evaluator, unit: Expr) -> tuple[dict[int, Expr], Expr]:
    """Where the unit's tile starts along each axis, and which piece of the row it is."""
    block, rest = i32(0), unit
    if s.blocks > 1:
        block, rest = let(rest % i32(s.blocks)), let(rest // i32(s.blocks))
    starts: dict[int, Expr] = {}
    for n, (a, tile, count) in reversed(list(enumerate(zip(s.axes, s.tiles, s.counts, strict=True)))):
        digit = rest if n == 0 else let(rest % i32(count))
        rest = rest if n == 0 else let(rest // i32(count))
        j = const(0) if count == 1 else ev.space.symbol(count, digit)
        starts[a] = overlapped(ev, j, count, tile, s.group.root.shape[a])
    return starts, block


def _stage(ev: Evaluator, stage: Stage, axis: int | None, summed: Var | None, rows: list[Binding], isa: Isa) -> None:
    """All rows of a stage below what is already bound."""
    vectors = 2 if len(rows) > 1 else 4
    writer = Rows(ev, stage, axis, summed, vectors if "avx512f" in isa.needs else vectors // 2)
    free = [a for a, v in enumerate(stage.vars) if a != axis and v not in rows[0]]
    with ExitStack() as stack:
        for a in free:
            index = stack.enter_context(counted(ev, stage.shape[a]))
            rows = [{**row, stage.vars[a]: index} for row in rows]
        stack.enter_context(ev.scope())
        writer.write(rows)


def _piece(s: Schedule, ev: Evaluator, rows: list[Binding], block: Expr) -> None:
    """One piece of every row; the last piece also has what is left after whole vectors."""
    root, axis = s.group.root, s.axis
    assert axis is not None
    width = root.shape[axis]
    whole = width // LANES
    writer = Rows(ev, root, axis, None)
    first = let(block * i32(s.span))
    with when(block == i32(s.blocks - 1)):
        writer.clear(rows)
    last = let((block + i32(1)) * i32(s.span))
    from tvm import tirx

    writer.span(rows, first, let(tirx.min(last, i32(whole))), whole)
    with when(block == i32(s.blocks - 1)), ev.scope():
        writer.tail(rows, 0, width)
