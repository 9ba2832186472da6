"""Checks one run of a region: every call from the memory it saw to the memory it left.

Calls of a region build on each other, so memory is followed call by call: a call's inputs come from before the region,
or are what an earlier call really left there. Only what a later call of the region overwrites cannot be seen any more:
its expected values go on in its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq.lower.plan import Call, Region
from edgeq.lower.values import Buffer
from replay.expected import Expected, Finding, compare
from replay.families import FAMILIES
from replay.step import Arguments, Memory, Step


@dataclass
class Checked:
    """Findings of a region, and which bytes of the arena and of private memory they speak of."""

    findings: list[Finding]
    arena: np.ndarray
    private: np.ndarray


def check_region(region: Region, step: Step, before: Memory, after: Memory) -> Checked:
    """Compare what a region made of `before` with the references; findings also name bytes that must not change."""
    now = before.copy()
    covered = Memory(np.zeros(len(now.arena), bool), np.zeros(len(now.private), bool))
    findings = [f for i in range(len(region.calls)) for f in _check_call(region.calls, i, step, now, after, covered)]
    findings += [_untouched(region, before, after, covered)]
    return Checked(findings, covered.arena, covered.private)


def poison(region: Region, memory: Memory) -> None:
    """Fill what the region only writes with NaN, so that a call that writes nothing is not saved by old results."""
    seen: set[int] = set()
    for call in region.calls:
        seen |= {id(b) for b in call.reads}
        for buffer in _pure_outputs(call):
            if id(buffer) not in seen:
                memory.bytes_of(buffer)[:] = 0xFF
                seen.add(id(buffer))


def _pure_outputs(call: Call) -> list[Buffer]:
    """Buffers that a call writes whatever they held."""
    given = zip(call.kernel.params, call.args, strict=True)
    out = [getattr(arg, "buffer", arg) for param, arg in given if param.access == "out"]
    return [b for b in out if isinstance(b, Buffer)]


def _check_call(
    calls: Sequence[Call], i: int, step: Step, now: Memory, after: Memory, covered: Memory
) -> Iterator[Finding]:
    call = calls[i]
    overwritten = {id(b) for later in calls[i + 1 :] for b in later.writes}
    a, left, mark = (Arguments(call, step, memory) for memory in (now, after, covered))
    expectations = FAMILIES[call.kernel.family](a)
    want = next(expectations)
    while True:
        arg = a.argument(want.param)
        hidden = id(getattr(arg, "buffer", arg)) in overwritten
        values = want.rounded() if hidden else _elements(left, want)
        _write(a, want, values)
        if not hidden:
            _mark(mark, want)
            yield Finding(
                call.kernel.name, call.kernel.family, want.param, want.rule, values.size, **compare(values, want)
            )
        try:
            want = expectations.send(values)
        except StopIteration:
            return


def _locations(a: Arguments, want: Expected) -> tuple[np.ndarray, np.ndarray]:
    """(memory seen as the stored type, element numbers in it)."""
    space, start = a.address(a.argument(want.param))
    size = np.dtype(want.dtype).itemsize
    assert start % size == 0 and len(space) % size == 0, (want.param, start, size)
    return space.view(want.dtype), want.index + start // size


def _elements(a: Arguments, want: Expected) -> np.ndarray:
    memory, index = _locations(a, want)
    return memory[index]


def _write(a: Arguments, want: Expected, values: np.ndarray) -> None:
    memory, index = _locations(a, want)
    memory[index] = values


def _mark(a: Arguments, want: Expected) -> None:
    space, start = a.address(a.argument(want.param))
    size = np.dtype(want.dtype).itemsize
    space.reshape(-1, size)[want.index + start // size] = True


def _untouched(region: Region, before: Memory, after: Memory, covered: Memory) -> Finding:
    """Bytes that changed although no call of the region had to write them.

    Outputs and scratch may hold anything in their padding; of caches only checked elements change.
    """
    free = Memory(covered.arena.copy(), covered.private.copy())
    for call in region.calls:
        for buffer in (*_pure_outputs(call), *(b for b in call.writes if not b.pinned)):
            free.bytes_of(buffer)[:] = True
    wrong = sum(
        int(((old != new) & ~mask).sum())
        for old, new, mask in (
            (before.arena, after.arena, free.arena),
            (before.private, after.private, free.private),
        )
    )
    return Finding("memory", "memory", "bytes outside outputs", "exact", 0, wrong=wrong)
