"""Which axis becomes the 16 lanes: the last one of the result, or one that is summed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tvm.sym import detect_linear_equation

from edgeq.kernels.vector import LANES
from edgeq.lower.glue.expression import called, children, kind, loads, nodes, substitute
from edgeq.lower.glue.memory import Layout, Slot
from edgeq.lower.glue.space import Space, const
from edgeq.lower.glue.stage import Stage

Expr = Any
Var = Any
ENOUGH = 4  # neighbours worth having
TURNED = 4.0  # cost of 16 scattered elements that are turned in blocks
GATHER, TREE = 16.0, 6.0  # cost of reading 16 scattered elements, of adding up 16 lanes, in vector operations


def lane_axis(stage: Stage, layout: Layout) -> int | None:
    """The axis of the result along which memory is dense: the last, or the last above 1 where rows leave no gap."""
    if not stage.shape or layout.row_stride != stage.shape[-1]:
        return len(stage.shape) - 1 if stage.shape else None
    return next((a for a in range(len(stage.shape) - 1, -1, -1) if stage.shape[a] > 1), None)


def reached(root: Stage, inlined: Mapping[Var, Stage]) -> list[Stage]:
    """The stage and the inlined stages that it reads, directly or not."""
    found, work = {root.buffer: root}, [root]
    while work:
        for load in loads(work.pop().value):
            if load.source in inlined and load.source not in found:
                found[load.source] = inlined[load.source]
                work.append(found[load.source])
    return list(found.values())


def summed_axis(root: Stage, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot]) -> Var | None:
    """The reduced axis to take 16 elements of at once, or None where neighbouring results are cheaper."""
    return lanes_of_sum(root, inlined, slots)[1]


def lanes_of_sum(root: Stage, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot]) -> tuple[float, Var | None]:
    """Vector operations for one result, and the reduced axis that the lanes are, None for the result's last."""
    reduction = next((s for s in reached(root, inlined) if s.reduce), None)
    if reduction is None:
        return 0.0, None
    last = lane_axis(root, slots[root.buffer].layout)
    best, choice = _cost_by_element(root, reduction, inlined, slots, last), None
    for var, extent in reduction.reduce:
        steps = -(-extent // LANES)
        reads = sum(_reads(reduction, var, inlined, slots))
        cost = steps * (reads + 1) * _rest(reduction, var) + TREE
        if cost < best:
            best, choice = cost, var
    return best, choice


def shared_axis(
    root: Stage, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot], outer: Sequence[int]
) -> int | None:
    """The outer axis whose neighbours read most of the same elements (the rows of a matrix product), if any does.

    The outermost of equals: rows far apart are fetched from memory side by side.
    """
    best, choice = (0, 0), None
    for axis in outer:
        extent = root.shape[axis]
        same = sum(cost < 1.0 for cost in _reads(root, root.vars[axis], inlined, slots))
        if extent > 1 and same and (same, min(extent, ENOUGH)) > best:
            best, choice = (same, min(extent, ENOUGH)), axis
    return choice


def far_first(
    root: Stage, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot], outer: Sequence[int]
) -> tuple[int, ...]:
    """The outer axes by how far apart what neighbours along them read lies, so that units walk through memory."""
    jumps = {axis: max(map(abs, _jumps(root, axis, inlined, slots)), default=0) for axis in outer}
    return tuple(sorted(outer, key=lambda axis: -jumps[axis]))


def _jumps(root: Stage, axis: int, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot]) -> Iterator[int]:
    """How much further every read lies one step along an axis from the first element on."""
    space = Space()
    first = {v: const(0) for v in (*root.vars, *(v for v, _ in root.reduce))}
    if root.shape[axis] == 1:
        return
    ends = [_places(root.value, {**first, root.vars[axis]: const(at)}, space, inlined, slots) for at in (0, 1)]
    for a, b in zip(*ends, strict=True):
        gap = space.simplify(b - a)
        if kind(gap) == "IntImm":
            yield int(gap.value)


def _places(
    e: Expr, binding: Mapping[Var, Expr], space: Space, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot]
) -> list[Expr]:
    """Where every read lies; reduced axes of inlined stages are left at their start."""
    found = []
    for load in loads(e):
        indices = [space.simplify(substitute(i, binding)) for i in load.indices]
        stage = inlined.get(load.source)
        if stage is None:
            found.append(space.simplify(slots[load.source].layout.flat(indices)))
        else:
            inner = dict(zip(stage.vars, indices, strict=True)) | {v: const(0) for v, _ in stage.reduce}
            found += _places(stage.value, inner, space, inlined, slots)
    return found


def turned_axis(
    root: Stage, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot], lane: int, outer: Sequence[int]
) -> int | None:
    """The outer axis along which elements are neighbours that lie apart along the lanes (a transpose), if any."""
    across = _reads(root, root.vars[lane], inlined, slots)
    for axis in outer:
        if root.shape[axis] < LANES:
            continue
        along = _reads(root, root.vars[axis], inlined, slots)
        if any(a == 1.0 and b == GATHER for a, b in zip(along, across, strict=True)):
            return axis
    return None


def cost(root: Stage, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot]) -> float:
    """Vector operations to compute a stage, with a store for each vector of results."""
    per_result, _ = lanes_of_sum(root, inlined, slots)
    if per_result:
        return root.size * (per_result + 1 / LANES)
    axis = lane_axis(root, slots[root.buffer].layout)
    if axis is None:
        return float(root.size)
    outer = [a for a in range(len(root.shape)) if a != axis]
    reads = _reads(root, root.vars[axis], inlined, slots)
    if turned_axis(root, inlined, slots, axis, outer) is not None:
        reads = [min(r, TURNED) for r in reads]
    vectors = root.size // root.shape[axis] * -(-root.shape[axis] // LANES)
    return vectors * (sum(reads) + 1)


def branches(stages: Iterable[Stage]) -> bool:
    """Whether any element depends on a condition."""
    return any(called(n) == "if_then_else" for s in stages for n in nodes(s.value))


def _cost_by_element(
    root: Stage, reduction: Stage, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot], last: int | None
) -> float:
    """Vector operations for one result when 16 neighbours are computed together."""
    if last is None:
        return float("inf")
    width = root.shape[last]
    reads = sum(_reads(root, root.vars[last], inlined, slots))
    used = width / (-(-width // LANES))
    return (reads + 1) * (reduction.work / max(reduction.size, 1)) / used


def _rest(reduction: Stage, var: Var) -> float:
    total = 1.0
    for other, extent in reduction.reduce:
        total *= 1.0 if other.same_as(var) else extent
    return total


def _reads(stage: Stage, var: Var, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot]) -> list[float]:
    """Cost of every read of memory that the stage makes when `var`, one of its own, runs over lanes."""
    space = Space()
    with space.lanes() as lane:
        own = (*zip(stage.vars, stage.shape, strict=True), *stage.reduce)
        binding = {v: space.symbol(n) for v, n in own if not v.same_as(var)}
        extent = next(n for v, n in own if v.same_as(var))
        binding[var] = space.symbol(max(1, -(-extent // LANES))) * const(LANES) + lane
        return list(_costs(stage.value, binding, space, inlined, slots))


def _costs(
    e: Expr, binding: dict[Var, Expr], space: Space, inlined: Mapping[Var, Stage], slots: Mapping[Var, Slot]
) -> Iterator[float]:
    for load in loads(e):
        indices = [space.simplify(substitute(i, binding)) for i in load.indices]
        stage = inlined.get(load.source)
        if stage is not None:
            yield from _costs(stage.value, dict(zip(stage.vars, indices, strict=True)), space, inlined, slots)
            continue
        flat = space.simplify(slots[load.source].layout.flat(indices))
        if not space.varies(flat):
            yield 0.5
        else:
            yield 1.0 if space.stride(flat)[0] == 1 else GATHER


def cuts(root: Stage, axis: int, inlined: Mapping[Var, Stage]) -> list[int]:
    """Where along an axis of the result a condition changes its mind (the seams of a concatenation)."""
    space = Space()
    width = root.shape[axis]
    binding = {v: space.symbol(n) for v, n in zip(root.vars, root.shape, strict=True)}
    found = {0, width}
    for place in _seams(root.value, binding, binding[root.vars[axis]], space, inlined):
        if 0 < place < width:
            found.add(place)
    return sorted(found) if len(found) <= 34 else [0, width]


def _seams(e: Expr, binding: Mapping[Var, Expr], var: Var, space: Space, inlined: Mapping[Var, Stage]) -> Iterator[int]:
    if kind(e) in ("LT", "LE", "GT", "GE", "EQ", "NE") and not loads(e):
        yield from _seam(kind(e), space.simplify(substitute(e.a - e.b, binding)), var, space)
    if kind(e) == "TensorLoad" and (stage := inlined.get(e.source)) is not None:
        indices = [space.simplify(substitute(i, binding)) for i in e.indices]
        yield from _seams(stage.value, dict(zip(stage.vars, indices, strict=True)), var, space, inlined)
    for child in children(e):
        yield from _seams(child, binding, var, space, inlined)


def _seam(relation: str, difference: Expr, var: Var, space: Space) -> Iterator[int]:
    """Where `difference <relation> 0` changes, when the difference is plus or minus `var` plus a constant."""
    if str(difference.ty.dtype).startswith("float"):
        return
    found = detect_linear_equation(difference, [var])
    if len(found) != 2 or kind(found[0]) != "IntImm" or abs(int(found[0].value)) != 1:
        return
    base = space.simplify(found[1])
    if kind(base) != "IntImm":
        return
    zero, rising = -int(base.value) * int(found[0].value), int(found[0].value) > 0
    if relation in ("EQ", "NE") or (relation in ("LT", "GE")) == rising:
        yield zero
    if relation in ("EQ", "NE") or (relation in ("LT", "GE")) != rising:
        yield zero + 1
