"""Scalars that vectors are multiplied by: one load each, or four in a vector where an instruction takes a lane."""

from __future__ import annotations

from collections.abc import Callable

from edgeq.kernels.vector import Expr, Memory, i32, let, loop, part, splat

BY_LANE = 4  # floats of a vector whose lanes fma takes


class Scalars:
    """`count` scalars from each of `starts` on (element indices), 1 or `BY_LANE`."""

    def __init__(self, memory: Memory, starts: list[Expr], count: int):
        self.memory, self.starts = memory, starts
        self.held = [let(memory.vector(at, count)) for at in starts] if count > 1 else None

    def splat(self, start: int, i: int) -> Expr:
        """The i-th scalar of a start, in 16 lanes."""
        if self.held is None:
            return let(splat(self.memory[self.starts[start]]))
        return splat(part(self.held[start], i, 1))


def steps(begin: Expr, end: Expr, step: int, emit: Callable[[Expr, int], None]) -> None:
    """`emit(i, step)` for whole steps from begin on, then `emit(i, 1)` for what is left before end."""
    if step == 1:
        with loop(begin, end) as i:
            emit(i, 1)
        return
    whole = let((end - begin) // i32(step))
    with loop(i32(0), whole) as s:
        emit(let(begin + s * i32(step)), step)
    with loop(let(begin + whole * i32(step)), end) as i:
        emit(i, 1)
