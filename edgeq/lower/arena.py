"""Offsets from lifetimes: buffers that are never alive in one region share memory."""

from __future__ import annotations

from edgeq.lower.values import Buffer


def place(buffers: list[Buffer], start: int = 0) -> int:
    """Give every buffer an offset, largest first at the lowest gap that is free over its whole life.

    Returns the bytes needed. Lifetimes are inclusive, so a buffer freed in a region is reused from the next one on.
    """
    placed: list[Buffer] = []
    for b in sorted(buffers, key=lambda b: (-b.bytes, b.first, b.name)):
        b.offset = _lowest_gap(b, [p for p in placed if p.first <= b.last and b.first <= p.last], start)
        placed.append(b)
    return max((b.offset + b.bytes for b in buffers), default=start)


def _lowest_gap(b: Buffer, others: list[Buffer], start: int) -> int:
    at = start
    for o in sorted(others, key=lambda o: o.offset):
        if o.offset - at >= b.bytes:
            break
        at = max(at, o.offset + o.bytes)
    return at


def stack(buffers: list[Buffer], start: int) -> int:
    """Place buffers one after another (state that lives for ever); returns the end."""
    for b in buffers:
        b.offset, start = start, start + b.bytes
    return start
