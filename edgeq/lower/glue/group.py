"""Which stages of a PrimFunc become one kernel, and where each is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from tvm.sym import Analyzer

from edgeq.lower.glue.arithmetic import EXPENSIVE
from edgeq.lower.glue.expression import called, children, kind, loads, substitute
from edgeq.lower.glue.memory import padded
from edgeq.lower.glue.stage import Function, Stage

Expr = Any
Var = Any
SCRATCH = 8192  # elements of a thread's stack that a kernel may take
SMALL = 1 << 14  # a kernel of so little work need not be shared between threads


@dataclass(frozen=True)
class Group:
    """One kernel: `root` is written to memory; `inlined` stages are computed where they are read; `local` stages are
    computed for one slice (the first `prefix` axes fixed) into the stack before the root needs them."""

    root: Stage
    inlined: tuple[Stage, ...] = ()
    local: tuple[Stage, ...] = ()
    prefix: int = 0

    def reads(self) -> list[Var]:
        """Tensors read from memory, in order of first use."""
        own = {s.buffer for s in (*self.inlined, *self.local)}
        seen: dict[Var, None] = {}
        for stage in (*self.inlined, *self.local, self.root):
            for load in loads(stage.value):
                if load.source not in own:
                    seen[load.source] = None
        return list(seen)


def groups(function: Function) -> list[Group]:
    """Kernels that compute the function's outputs, in order."""
    stages = {s.buffer: s for s in function.stages}
    made: dict[Var, Group] = {}
    for output in function.outputs:
        outside = {b: s for b, s in stages.items() if b not in made}
        _add(stages[output], outside, made)
    return list(made.values())


def _add(root: Stage, stages: Mapping[Var, Stage], made: dict[Var, Group]) -> None:
    """Kernels for `root` and whatever it needs, appended to `made`."""
    inside = _needed(root, {b: s for b, s in stages.items() if b not in made})
    kept = _materialised(root, inside)
    inlined = tuple(s for s in inside if s not in kept)
    prefix = _prefix(root, inlined, kept)
    if not kept or _worth(root, kept, prefix):
        made[root.buffer] = Group(root, inlined, tuple(kept), prefix)
        return
    for stage in kept:
        if stage.buffer not in made:
            _add(stage, stages, made)
    remaining = {b: s for b, s in stages.items() if b not in made}
    made[root.buffer] = Group(root, tuple(_needed(root, remaining)))


def _needed(root: Stage, stages: Mapping[Var, Stage]) -> list[Stage]:
    """Stages that the root reads, directly or not, in order of computation."""
    wanted, work = {root.buffer}, [root]
    while work:
        for load in loads(work.pop().value):
            if load.source in stages and load.source not in wanted:
                wanted.add(load.source)
                work.append(stages[load.source])
    return [s for b, s in stages.items() if b in wanted and s is not root]


def _materialised(root: Stage, inside: Sequence[Stage]) -> list[Stage]:
    """Stages worth keeping: reductions read more than once or under a condition, and what is dear and read often."""
    times = {s.buffer: 0.0 for s in inside}
    once = {s.buffer: True for s in inside}  # read at one place, always, and not inside a sum
    kept = []
    for consumer in [root, *reversed(inside)]:
        inlined = consumer is not root and not _keep(consumer, times[consumer.buffer], once[consumer.buffer])
        if consumer is not root and not inlined:
            kept.append(consumer)
        runs = times[consumer.buffer] * consumer.work / max(consumer.size, 1) if inlined else consumer.work
        for load, conditional in _sites(consumer.value):
            if load.source in times:
                times[load.source] += runs
                once[load.source] &= not (conditional or consumer.reduce or (inlined and not once[consumer.buffer]))
    return [s for s in inside if s in kept]


def _keep(stage: Stage, times: float, once: bool) -> bool:
    repeats = times / max(stage.size, 1)
    if stage.reduce:
        return repeats > 1.01 or not once
    return repeats > 1.5 and _cost(stage.value) * repeats >= 6


def _cost(e: Expr) -> float:
    """Rough cost of an element besides the loads themselves and index arithmetic, which simplifies away."""
    price = {"Call": 1.0, "Div": 2.0, "FloorDiv": 1.0, "FloorMod": 1.0, "Add": 0.3, "Sub": 0.3, "Mul": 0.3}
    total = 0.0
    for node in _outside_indices(e):
        name = kind(node)
        if called(node) in EXPENSIVE:
            total += 8.0
        elif called(node) == "if_then_else":
            total += 2.0
        else:
            total += price.get(name, 0.0)
    return total


def _outside_indices(e: Expr) -> Iterator[Expr]:
    yield e
    if kind(e) != "TensorLoad" or any(map(loads, e.indices)):
        for child in children(e):
            yield from _outside_indices(child)


def _sites(e: Expr, conditional: bool = False) -> list[tuple[Expr, bool]]:
    """Reads of memory, each with whether a branch decides about it."""
    if kind(e) == "TensorLoad":
        return [(e, conditional), *(s for i in e.indices for s in _sites(i, True))]
    branches = called(e) == "if_then_else"
    parts = children(e)
    return [s for n, c in enumerate(parts) for s in _sites(c, conditional or (branches and n > 0))]


def _prefix(root: Stage, inlined: Sequence[Stage], kept: Sequence[Stage]) -> int:
    """How many leading axes the root and all kept stages share: a slice of each depends on no other slice.

    The root's last axis is never among them, because a unit writes whole rows.
    """
    by_buffer = {s.buffer: s for s in (*inlined, *kept)}
    limit = min([max(0, len(root.shape) - 1), *(len(s.shape) for s in kept)])
    keep = {s.buffer for s in kept}
    for consumer in (*kept, root):
        identity = {v: v for v in consumer.vars}
        for target, indices in _deep(consumer.value, identity, by_buffer, keep, Analyzer()):
            same = 0
            while same < limit and indices[same].same_as(consumer.vars[same]):
                same += 1
            limit = min(limit, same)
            if by_buffer[target].shape[:limit] != consumer.shape[:limit]:
                limit = next(
                    i for i, (a, b) in enumerate(zip(by_buffer[target].shape, consumer.shape, strict=False)) if a != b
                )
    return limit


def _deep(
    e: Expr, binding: Mapping[Var, Expr], stages: Mapping[Var, Stage], keep: set[Var], analyzer: Analyzer
) -> list[tuple[Var, list[Expr]]]:
    """Reads of kept stages, through inlined ones, with their indices in terms of the consumer's variables."""
    found = []
    for load in loads(e):
        if load.source not in stages:
            continue
        indices = [analyzer.simplify(substitute(i, binding)) for i in load.indices]
        if load.source in keep:
            found.append((load.source, indices))
        else:
            stage = stages[load.source]
            found += _deep(stage.value, dict(zip(stage.vars, indices, strict=True)), stages, keep, analyzer)
    return found


def _worth(root: Stage, kept: Sequence[Stage], prefix: int) -> bool:
    """Whether the slices fit the stack, and are many enough to share or too small to matter."""
    room = sum(padded(prod(s.shape[prefix:])) for s in kept)
    total = root.work + sum(s.work for s in kept)
    return room <= SCRATCH and (prod(root.shape[:prefix]) >= 8 or total <= SMALL)
