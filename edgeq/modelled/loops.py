"""Cuts a function into its innermost loops and the straight stretches around them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from edgeq.errors import UnsupportedError
from edgeq.modelled.disassembly import Instruction, disassemble

_VECTOR = re.compile(r"[bhsdqvz]\d+(\.\w+)?|%[xyz]mm\d+")


@dataclass(frozen=True)
class Stretch:
    """Instructions that always run together.

    Attributes:
        body: in order. times: how often each ran, 0 when nobody counted. loop: whether the last jumps to the first.
    """

    body: tuple[Instruction, ...]
    times: int
    loop: bool

    @property
    def instructions(self) -> int:
        """Executed: length times times."""
        return len(self.body) * self.times


def innermost_loops(code: Sequence[Instruction]) -> list[tuple[Instruction, ...]]:
    """Bodies of the loops of a function that hold no other loop, in order."""
    if not code:
        return []
    first = code[0].address
    spans = [(i.target, i.address) for i in code if i.target is not None and first <= i.target <= i.address]
    inner = {(lo, hi) for lo, hi in spans if not any(s != (lo, hi) and lo <= s[0] and s[1] <= hi for s in spans)}
    return [tuple(i for i in code if lo <= i.address <= hi) for lo, hi in sorted(inner)]


def stretches(code: Sequence[Instruction], counts: Mapping[int, int]) -> list[Stretch]:
    """What ran of a function, most executed instructions first: loops whose whole body ran equally often, and the rest
    in stretches of equal counts."""
    loops = [body for body in innermost_loops(code) if len({counts.get(i.address, 0) for i in body}) == 1]
    inside = {i.address: number for number, body in enumerate(loops) for i in body}
    found = []
    for (number, times), group in groupby(code, lambda i: (inside.get(i.address), counts.get(i.address, 0))):
        if times:
            found.append(Stretch(tuple(group), times, number is not None))
    return sorted(found, key=lambda s: -s.instructions)


def hot_loop(path: Path, symbol: str, counts: Mapping[int, int] | None = None) -> Stretch:
    """The innermost loop of a function that executed most instructions.

    Without counts (times by address, `counts.by_instruction`) it is the loop with the most vector instructions. Raises
    UnsupportedError when the function has no loop or none ran, as `disassemble` when it does not exist.
    """
    code = disassemble(path, [symbol])[symbol]
    if counts is None:
        found = [Stretch(body, 0, True) for body in innermost_loops(code)]
        found.sort(key=lambda s: -sum(map(is_vector, s.body)))
    else:
        found = [s for s in stretches(code, counts) if s.loop]
    if not found:
        raise UnsupportedError(f"{symbol} of {path.name} runs no loop")
    return found[0]


def is_vector(instruction: Instruction) -> bool:
    """Whether an operand is a register of the vector unit."""
    return any(_VECTOR.fullmatch(word.strip("{} ")) for word in instruction.operands.split(","))
