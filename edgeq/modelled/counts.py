"""What the counting plugin wrote: how often each straight stretch of instructions ran, interval by interval."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import ToolchainError, UsageError
from edgeq.modelled.disassembly import all_addresses
from edgeq.modelled.program import Owners, Program

Block = tuple[int, int, int]


@dataclass(frozen=True)
class Interval:
    """From one marker to the next.

    Attributes:
        mark: id of the marker that began it, 0 at the start of the program.
        blocks: (address in the program's file, instructions, times run).
    """

    mark: int
    blocks: tuple[Block, ...]

    @property
    def total(self) -> int:
        """Executed instructions."""
        return sum(n * times for _, n, times in self.blocks)


def read_counts(path: Path, program: Program) -> list[Interval]:
    """Intervals in order; raises ToolchainError for a cut file, UsageError when the program ran several threads."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    if not lines or "threads" not in lines[-1]:
        raise ToolchainError(f"{path.name}: the emulator left no complete counts")
    *intervals, last = lines
    if last["threads"] != 1:
        raise UsageError(f"{program.path.name} ran {last['threads']} threads; counts are exact for one only")
    bias = last["entry"] - program.entry
    return [Interval(i["mark"], tuple((a - bias, n, t) for a, n, t in i["blocks"])) for i in intervals]


def by_instruction(blocks: Iterable[Block], program: Program) -> Counter[int]:
    """Times that the instruction at each address ran."""
    counts: Counter[int] = Counter()
    for address, n, times in blocks:
        for at in _addresses(address, n, program):
            counts[at] += times
    return counts


def _addresses(first: int, n: int, program: Program) -> Sequence[int]:
    """Of n instructions from `first` on."""
    if step := program.architecture.step:
        return range(first, first + step * n, step)
    order = all_addresses(program.path)
    at = bisect_left(order, first)
    return order[at : at + n]


def by_function(counts: Mapping[int, int], program: Program) -> Counter[str]:
    """Executed instructions by function, most first, from times by address."""
    owners, totals = Owners(program.functions), Counter[str]()
    for address, times in counts.items():
        totals[owners.of(address)] += times
    return Counter(dict(totals.most_common()))


def calls(counts: Mapping[int, int], program: Program) -> Counter[str]:
    """Times that each function's first instruction ran: its calls, unless it loops back there."""
    return Counter({f.name: counts[f.address] for f in program.functions if counts.get(f.address)})
