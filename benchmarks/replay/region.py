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
from replay.memory import Memory, spans_of
from replay.step import Arguments, Step


@dataclass
class Checked:
    """Findings of a region, and the mask of the bytes that they speak of."""

    findings: list[Finding]
    covered: Memory


def check_region(region: Region, step: Step, before: Memory, after: Memory) -> Checked:
    """Compare what a region made of `before` with the references; nothing else may have changed."""
    checked = check_calls(region, step, before, after)
    wrong = _untouched(region, before, after, checked.covered) + after.differing_outside(before, spans_of(region))
    checked.findings.append(Finding("memory", "memory", "bytes outside outputs", "exact", 0, wrong=wrong))
    return checked


def check_calls(region: Region, step: Step, before: Memory, after: Memory) -> Checked:
    """Only what the calls should have written; of `before`, only what they read is looked at."""
    now, covered = before.sparse(spans_of(region)), before.mask()
    findings = [f for i in range(len(region.calls)) for f in _check_call(region.calls, i, step, now, after, covered)]
    return Checked(findings, covered)


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


def _untouched(region: Region, before: Memory, after: Memory, covered: Memory) -> int:
    """Bytes of the region's buffers that changed although no call had to write them.

    Outputs and scratch may hold anything in their padding; of caches only checked elements change.
    """
    kept = before.mask()
    for call in region.calls:
        for buffer in (*call.reads, *call.writes):
            kept.bytes_of(buffer)[:] = ~covered.bytes_of(buffer)
    for call in region.calls:
        for buffer in (*_pure_outputs(call), *(b for b in call.writes if not b.pinned)):
            kept.bytes_of(buffer)[:] = False
    return after.differing(before, kept, spans_of(region))
