"""Cuts the list of calls into regions: a barrier wherever a thread could see another's unfinished work."""

from __future__ import annotations

from edgeq.lower.plan import Call, Region
from edgeq.lower.values import Buffer


def _conflict(done: Call, new: Call) -> bool:
    """Whether `new` must wait for all threads to finish `done`.

    Private memory is a thread's own. Calls with one share touch the same units on the same thread. Anything else that
    reads what is being written, or writes what is being read or written, needs a barrier.
    """
    if done.split.share and done.split.share == new.split.share:
        return False
    wrote, read = _shared(done.writes), _shared(done.reads)
    return bool(wrote & (_shared(new.reads) | _shared(new.writes)) or read & _shared(new.writes))


def _shared(buffers: tuple[Buffer, ...]) -> set[int]:
    return {id(b) for b in buffers if not b.private}


class RegionBuilder:
    """Collects calls; `regions` holds the result and buffers' lifetimes are kept as region numbers."""

    def __init__(self) -> None:
        self.regions: list[Region] = [Region()]

    def add(self, call: Call, module: str) -> None:
        """Append a call, opening a new region when it conflicts with one of the open region."""
        if any(_conflict(done, call) for done in self.regions[-1].calls):
            self.regions.append(Region())
        region = self.regions[-1]
        region.calls.append(call)
        if module and module not in region.modules:
            region.modules.append(module)
        for b in (*call.reads, *call.writes):
            _extend(b, len(self.regions) - 1)


def _extend(buffer: Buffer, region: int) -> None:
    buffer.first = region if buffer.first < 0 else buffer.first
    buffer.last = max(buffer.last, region)
