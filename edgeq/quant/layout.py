"""Where the codes of a group lie: which 64-byte vectors hold which quads.

A quad is 4 consecutive weights of each of a tile's 16 rows. A plane is a list of vectors whose bytes hold fields of one
width: 8 / width of them, or five ternary digits. Field `f` of vector `v` belongs to quad `f * V + v`, `V` vectors in
all: at 4 bits low nibbles hold a group's first half. Codes of 3 bits are a plane of 2 bits, then one of 1 bit.

A byte of five ternary digits d0 .. d4 is `ceil(256 * n / 243)`, `n = 81 d0 + 27 d1 + 9 d2 + 3 d3 + d4`: times 3, the
digit stands above the byte and what follows in it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from edgeq.quant.kinds import TRIT

TRITS = 5


class Field(NamedTuple):
    """A part of a quad's codes: field `index` of this width in the bytes that `read` names, shifted left by `place`."""

    read: int
    index: int  # type: ignore[assignment]  # not tuple.index
    width: int
    place: int


class Quad(NamedTuple):
    """Number of a quad in its group (at a piece's first step), and the fields that its codes are put together of."""

    number: int
    fields: tuple[Field, ...]


class Piece(NamedTuple):
    """A run of steps: step s reads vectors `read + s` of the group and yields quads `number + s`."""

    steps: int
    reads: tuple[int, ...]
    quads: tuple[Quad, ...]


def fields_of(width: int) -> int:
    """Fields of this width in a byte."""
    return TRITS if width == TRIT else 8 // width


def vectors_of(width: int, quads: int) -> int:
    """Vectors of a plane that holds so many quads."""
    return -(-quads // fields_of(width))


@lru_cache(maxsize=1024)
def pieces(planes: tuple[int, ...], quads: int) -> tuple[Piece, ...]:
    """How a group's `quads` lie in `planes` of these widths, each quad in exactly one piece."""
    if len(planes) == 1:
        return _single(planes[0], quads)
    wide, narrow = planes
    ratio = fields_of(narrow) // fields_of(wide)
    if quads % fields_of(narrow):
        return _scattered(wide, narrow, quads)
    return (_paired(wide, narrow, quads, ratio),)


def _single(width: int, quads: int) -> tuple[Piece, ...]:
    """One plane: where the last fields are missing, shorter steps follow."""
    whole = vectors_of(width, quads)
    ends = [min(whole, quads - f * whole) for f in range(fields_of(width)) if quads > f * whole]
    found, first = [], 0
    for stop in sorted(set(ends)):
        held = [f for f, end in enumerate(ends) if end >= stop]
        numbers = tuple(Quad(f * whole + first, (Field(0, f, width, 0),)) for f in held)
        found.append(Piece(stop - first, (first,), numbers))
        first = stop
    return tuple(found)


def _paired(wide: int, narrow: int, quads: int, ratio: int) -> Piece:
    """Two planes: a vector of the narrow one and the `ratio` of the wide one that hold the same quads."""
    steps, whole = vectors_of(narrow, quads), vectors_of(wide, quads)
    reads = (*(j * steps for j in range(ratio)), whole)
    numbers = tuple(
        Quad(f * whole + j * steps, (Field(j, f, wide, 0), Field(ratio, ratio * f + j, narrow, wide)))
        for f in range(fields_of(wide))
        for j in range(ratio)
    )
    return Piece(steps, reads, numbers)


def _scattered(wide: int, narrow: int, quads: int) -> tuple[Piece, ...]:
    """Two planes of a ragged group: a step for every vector of the narrow one, runs of them where they are alike."""
    steps, whole = vectors_of(narrow, quads), vectors_of(wide, quads)
    found = []
    for v in range(steps):
        held = range(v, quads, steps)
        reads = (*dict.fromkeys(q % whole for q in held), whole + v)
        low = {q: Field(reads.index(q % whole), q // whole, wide, 0) for q in held}
        numbers = tuple(Quad(q, (low[q], Field(len(reads) - 1, q // steps, narrow, wide))) for q in held)
        found.append(Piece(1, reads, numbers))
    return tuple(_runs(found))


def _runs(steps: list[Piece]) -> list[Piece]:
    """Steps that only move on by one vector joined to runs: code for each would be kilobytes."""
    found: list[Piece] = []
    for step in steps:
        if found and _moved(found[-1], found[-1].steps) == step:
            found[-1] = found[-1]._replace(steps=found[-1].steps + 1)
        else:
            found.append(step)
    return found


def _moved(piece: Piece, by: int) -> Piece:
    """Step `by` of a piece as a piece of its own."""
    quads = tuple(Quad(number + by, fields) for number, fields in piece.quads)
    return Piece(1, tuple(read + by for read in piece.reads), quads)
