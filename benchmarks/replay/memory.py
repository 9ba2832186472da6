"""The memory of a run, and the few spans of it that a region touches: caches are large, a region sees one layer's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from edgeq.lower.plan import Region
from edgeq.lower.values import Buffer

Span = tuple[int, int]


@dataclass(frozen=True)
class Spans:
    """[start, stop) of bytes in the arena and in private memory, sorted and apart."""

    arena: tuple[Span, ...]
    private: tuple[Span, ...]


@dataclass(frozen=True)
class Memory:
    """Arena and the private memory of one thread, u8 (or bool: a mask over them)."""

    arena: np.ndarray
    private: np.ndarray

    def bytes_of(self, buffer: Buffer) -> np.ndarray:
        """The bytes of a buffer, a view."""
        space = self.private if buffer.private else self.arena
        return space[buffer.offset : buffer.offset + buffer.bytes]

    def sparse(self, spans: Spans) -> Memory:
        """The same bytes elsewhere; outside the spans, whatever is there."""
        new = Memory(np.empty_like(self.arena), np.empty_like(self.private))
        new.put(self, spans)
        return new

    def mask(self) -> Memory:
        """False for every byte."""
        return Memory(np.zeros(len(self.arena), bool), np.zeros(len(self.private), bool))

    def count(self, spans: Spans) -> int:
        """True bytes of a mask inside the spans."""
        return sum(int(part.sum()) for part in self._parts(spans))

    def put(self, other: Memory, spans: Spans) -> None:
        """Copy the spans from another memory."""
        for mine, its in zip(self._parts(spans), other._parts(spans), strict=True):
            mine[:] = its

    def differing(self, other: Memory, where: Memory, spans: Spans) -> int:
        """Bytes inside the spans that differ where the mask is true."""
        parts = zip(self._parts(spans), other._parts(spans), where._parts(spans), strict=True)
        return sum(int(((mine != its) & seen).sum()) for mine, its, seen in parts)

    def differing_outside(self, other: Memory, spans: Spans) -> int:
        """Bytes outside the spans that differ."""
        gaps = Spans(_gaps(spans.arena, len(self.arena)), _gaps(spans.private, len(self.private)))
        parts = zip(self._parts(gaps), other._parts(gaps), strict=True)
        return sum(0 if np.array_equal(mine, its) else int((mine != its).sum()) for mine, its in parts)

    def _parts(self, spans: Spans) -> Iterator[np.ndarray]:
        yield from (self.arena[a:b] for a, b in spans.arena)
        yield from (self.private[a:b] for a, b in spans.private)


def spans_of(region: Region) -> Spans:
    """What the calls of a region read and write."""
    buffers = [b for call in region.calls for b in (*call.reads, *call.writes)]
    return Spans(_merged(b for b in buffers if not b.private), _merged(b for b in buffers if b.private))


def _merged(buffers: Iterable[Buffer]) -> tuple[Span, ...]:
    out: list[Span] = []
    for start, stop in sorted((b.offset, b.offset + b.bytes) for b in buffers):
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(stop, out[-1][1])
        else:
            out.append((start, stop))
    return tuple(out)


def _gaps(spans: tuple[Span, ...], size: int) -> tuple[Span, ...]:
    edges = [0, *(edge for span in spans for edge in span), size]
    return tuple((a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b)
