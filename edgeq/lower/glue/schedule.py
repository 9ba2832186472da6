"""The one scheduling rule: units are rows of the result, shared by threads; a row is written vector by vector."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from edgeq.kernels.vector import LANES, Memory, Stack, i32, let, loop, minimum, when
from edgeq.lower.glue.axes import branches, cuts, far_first, lane_axis, reached, shared_axis, summed_axis, turned_axis
from edgeq.lower.glue.group import Group
from edgeq.lower.glue.memory import Layout, Slot, padded
from edgeq.lower.glue.reduction import counted
from edgeq.lower.glue.rows import ELEMENTS, QUAD, Rows, overlapped
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
    if root.reduce or any(s.reduce for s in group.inlined):
        return _product(Schedule(group, layouts, axis, summed, tuple(outer), (1,) * len(outer)), slots, inlined)
    return _plain(Schedule(group, layouts, axis, None, tuple(outer), (1,) * len(outer)), slots, inlined)


def _product(plain: Schedule, slots: Mapping[Var, Slot], inlined: Mapping[Var, Stage]) -> Schedule:
    """Sums: a few rows together where they read the same elements, and pieces of rows where rows are few."""
    root = plain.group.root
    shared = shared_axis(root, inlined, slots, plain.axes)
    axes = far_first(root, inlined, slots, plain.axes)
    tiled = replace(plain, axes=axes, tiles=tuple(min(ROWS, root.shape[a]) if a == shared else 1 for a in axes))
    terms = max(s.work // max(s.size, 1) for s in (root, *inlined.values()))
    return _cut(tiled, inlined, max(1, UNIT_WORK // (LANES * terms)))


def _plain(plain: Schedule, slots: Mapping[Var, Slot], inlined: Mapping[Var, Stage]) -> Schedule:
    """Element by element: transposes in blocks of 16 rows; small rows are joined into a unit, few long ones cut."""
    shape, outer = plain.group.root.shape, list(plain.axes)
    turned = None if plain.axis is None else turned_axis(plain.group.root, inlined, slots, plain.axis, outer)
    if turned is not None:
        return replace(plain, tiles=tuple(LANES if a == turned else 1 for a in outer))
    work = shape[plain.axis] if plain.axis is not None else 1
    units = prod(shape[a] for a in outer)
    while outer and work < UNIT_WORK and units // shape[outer[-1]] >= MANY:
        units //= shape[outer[-1]]
        work *= shape[outer.pop()]
    joined = replace(plain, axes=tuple(outer), tiles=(1,) * len(outer))
    return _cut(joined, inlined, UNIT_WORK // LANES)


def _cut(s: Schedule, inlined: Mapping[Var, Stage], least: int) -> Schedule:
    """Rows cut into pieces of at least `least` vectors when there are too few of them to share between threads."""
    root, axis = s.group.root, s.axis
    if s.units >= FEW or axis is None or len(s.axes) != len(root.shape) - 1:
        return s
    if s.summed is not None:
        steps = -(-root.shape[axis] // (ELEMENTS if root.shape[axis] >= ELEMENTS else 1))
        grain = 1 if s.layouts[root.buffer].row_stride == root.shape[axis] else LANES
        span = max(grain, -(-steps // MANY))
        return replace(s, blocks=-(-steps // span), span=span) if steps > span else s
    quads = root.shape[axis] // (LANES * QUAD)
    span = max(-(-least // QUAD), -(-quads // MANY))
    if quads < 2 * span or len(cuts(root, axis, inlined)) > 2:
        return s
    return replace(s, blocks=-(-quads // span), span=span)


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
        summed = summed_axis(stage, ev.inlined, ev.slots) if stage.reduce else None
        _stage(ev, stage, axis, summed, [fixed], isa)
    rows: list[Binding] = [{}]
    for a, tile in zip(s.axes, s.tiles, strict=True):
        rows = [{**row, root.vars[a]: ev.space.simplify(starts[a] + const(k))} for row in rows for k in range(tile)]
    if s.blocks == 1:
        _stage(ev, root, s.axis, s.summed, rows, isa)
    else:
        _piece(s, ev, rows, block, isa)


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
    writer = Rows(ev, stage, axis, summed, _together(ev, stage, rows, isa))
    free = [a for a, v in enumerate(stage.vars) if a != axis and v not in rows[0]]
    with ExitStack() as stack:
        for a in free:
            index = stack.enter_context(counted(ev, stage.shape[a]))
            rows = [{**row, stage.vars[a]: index} for row in rows]
        stack.enter_context(ev.scope())
        writer.write(rows)


def _piece(s: Schedule, ev: Evaluator, rows: list[Binding], block: Expr, isa: Isa) -> None:
    """One piece of every row; the last piece also has what is left after whole groups of vectors."""
    root, axis = s.group.root, s.axis
    assert axis is not None
    writer = Rows(ev, root, axis, s.summed, _together(ev, root, rows, isa))
    total = -(-root.shape[axis] // writer.together) if s.summed is not None else root.shape[axis] // (LANES * QUAD)
    first = let(block * i32(s.span))
    last = let(minimum(first + i32(s.span), i32(total)))
    with when(block == i32(s.blocks - 1)):
        writer.clear(rows)
    if s.summed is not None:
        writer.elements(rows, first, last)
        return
    writer.span(rows, first, last, total)
    with when(block == i32(s.blocks - 1)), ev.scope():
        writer.after(rows, total)


def _together(ev: Evaluator, stage: Stage, rows: list[Binding], isa: Isa) -> int:
    """Vectors of a row computed together: sums that add without branching keep a few running."""
    stages = reached(stage, ev.inlined)
    if not any(s.reduce for s in stages) or branches(stages):
        return 1
    wide = isa.accumulators >= 16
    return (2 if wide else 1) if len(rows) > 1 else (4 if wide else 2)
