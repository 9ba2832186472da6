"""Stored vectors of a step of a piece -> code vectors, one a quad: the bytes that integer dot products multiply.

The byte of a code is `level + zero_point` (for uniform formats the code itself), so it is unsigned; where a dot product
wants it signed, `less` is taken off again.

| format | from a field to the byte |
|---|---|
| uniform, ternary | shift, mask; two planes joined by `or` |
| binary | a shift by one less: twice the bit |
| 16 levels | the nibble looked up in a register (`vpshufb`, `tbl`); plain x86-64 compares it with each code |
| five trits in a byte | times 3, the digit stands above the byte: `_Words` on x86, a halving addition on ARM |
"""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from edgeq.kernels import vector as V
from edgeq.quant.format import WeightFormat
from edgeq.quant.kinds import TRIT
from edgeq.quant.layout import Field, Piece
from edgeq.targets.isa import Isa

_TABLE = 16  # entries that a register's lookup has
_FIRST, _SECOND = [n // 3 for n in range(9)], [n % 3 for n in range(9)]  # two ternary digits


def byte_levels(fmt: WeightFormat) -> tuple[int, ...]:
    """The unsigned byte of each code."""
    if fmt.levels is None:
        return tuple(range(1 << fmt.bits))
    return tuple(level - min(fmt.levels) for level in fmt.levels)


def codes(isa: Isa, fmt: WeightFormat, piece: Piece, stored: Sequence[V.Expr], less: int = 0) -> list[V.Expr]:
    """The code vectors of a step, in the order of `piece.quads`.

    Args:
        stored: int32x16 (or x4: a quarter of each), one for each of `piece.reads`, each evaluated once (`let`).
        less: taken off every byte: 0; 128 of plain 8-bit codes, anything of formats with a table.
    """
    if piece.quads[0].fields[0].width == TRIT:
        return _trits(isa, stored[0], len(piece.quads))
    levels, lanes = byte_levels(fmt), V.lanes_of(stored[0])
    table, shift = _map(levels)
    found = []
    for _, fields in piece.quads:
        parts = [_field(isa, stored[f.read], f, f.place + shift) for f in fields]
        code = parts[0] if len(parts) == 1 else parts[0] | parts[1]
        if table:
            code = _lookup(isa, [level - less for level in levels], code)
        elif less:
            code = code ^ V.splat(_every_byte(less), lanes)
        found.append(V.let(code))
    return found


def _map(levels: tuple[int, ...]) -> tuple[bool, int]:
    """(whether bytes come from a table, else by how much codes are shifted left to become them)."""
    for shift in range(2):
        if all(level == code << shift for code, level in enumerate(levels)):
            return False, shift
    return True, 0


def _field(isa: Isa, stored: V.Expr, f: Field, place: int) -> V.Expr:
    """Field f of every byte, its lowest bit at bit `place`."""
    lanes, shift = V.lanes_of(stored), f.index * f.width - place
    if f.width == 8:
        return stored
    if isa.by_lane and place == 0 and f.index * f.width + f.width == 8:  # a shift of bytes leaves nothing to mask
        amount = V.splat(V.cast("uint8", V.i32(shift)), 4 * lanes)
        return V.bits(f"int32x{lanes}", V.bits(f"uint8x{4 * lanes}", stored) >> amount)
    moved = stored >> V.splat(shift, lanes) if shift > 0 else stored << V.splat(-shift, lanes) if shift else stored
    return moved & V.splat(_every_byte(((1 << f.width) - 1) << place), lanes)


def _lookup(isa: Isa, table: list[int], index: V.Expr) -> V.Expr:
    """int32 lanes of bytes below 16 -> those of the table's entries."""
    lanes = V.lanes_of(index)
    if isa.dot == "generic":
        return _compared(table, index)
    parts = [index] if lanes != V.LANES or isa.dot == "vnni512" else [V.part(index, start, 8) for start in (0, 8)]
    name = {4: "llvm.aarch64.neon.tbl1.v16i8", 8: "llvm.x86.avx2.pshuf.b", 16: "llvm.x86.avx512.pshuf.b.512"}
    found = []
    for part in parts:
        size = V.lanes_of(part)
        kind = f"int8x{4 * size}"
        looked = V.intrinsic(kind, name[size], V.bits(kind, _constant(table, size)), V.bits(kind, part))
        found.append(V.bits(f"int32x{size}", looked))
    return found[0] if len(found) == 1 else V.concat(found)


def _constant(table: list[int], lanes: int) -> V.Expr:
    """16 bytes, repeated in every 4 lanes."""
    padded = table + [0] * (_TABLE - len(table))
    quads = [bytes(b & 255 for b in padded[i : i + 4]) for i in range(0, _TABLE, 4)]
    words = [V.i32(int.from_bytes(quad, "little", signed=True)) for quad in quads]
    return tirx.Shuffle(words * (lanes // 4), [V.i32(i) for i in range(lanes)])


def _compared(table: list[int], index: V.Expr) -> V.Expr:
    """The table by comparisons: each entry where the index is its number."""
    lanes = V.lanes_of(index)
    size = 4 * lanes
    number, zero = V.let(V.bits(f"uint8x{size}", index)), V.splat(_u8(0), size)
    total = zero
    for code, level in enumerate(table):
        if level:
            total = V.let(total | V.select(number == V.splat(_u8(code), size), V.splat(_u8(level & 255), size), zero))
    return V.bits(f"int32x{lanes}", total)


def _trits(isa: Isa, stored: V.Expr, count: int) -> list[V.Expr]:
    """The first `count` of every byte's five digits."""
    if isa.by_lane:
        return _halving(stored, count)
    digits, found = _Words(stored), []
    for first in range(0, count, 2):
        if isa.dot == "generic" or first + 1 == count:
            found += [V.let(digits.next(3)) for _ in range(min(2, count - first))]
        else:
            both = V.let(digits.next(9))
            found += [V.let(_lookup(isa, table, both)) for table in (_FIRST, _SECOND)]
    return found


class _Words:
    """Digits of bytes, even and odd ones as 16-bit words: above the low byte of 3 * byte is the first, in it the rest.

    Two at a time by 9, then a lookup of each: trits from a cache 15 -> 25 GB/s.
    """

    def __init__(self, stored: V.Expr):
        self.lanes = V.lanes_of(stored)
        self.kind = f"uint16x{2 * self.lanes}"
        low = V.splat(0x00FF00FF, self.lanes)
        self.even = V.let(V.bits(self.kind, stored & low))
        self.odd = V.let(V.bits(self.kind, (stored >> V.splat(8, self.lanes)) & low))

    def next(self, base: int) -> V.Expr:
        """int32 lanes: the next digit of every byte, to base 3 or 9."""
        even, odd = (V.let(words * self._all(base)) for words in (self.even, self.odd))
        self.even, self.odd = V.let(even & self._all(0xFF)), V.let(odd & self._all(0xFF))
        return V.bits(f"int32x{self.lanes}", even >> self._all(8) | odd & self._all(0xFF00))

    def _all(self, value: int) -> V.Expr:
        return V.splat(V.cast("uint16", V.i32(value)), 2 * self.lanes)


def _halving(stored: V.Expr, count: int) -> list[V.Expr]:
    """`3 * byte >> 8 == (byte + byte / 2) / 2 >> 6`, all rounded down: `uhadd`."""
    lanes = V.lanes_of(stored)
    size = 4 * lanes
    kind, rest, found = f"uint8x{size}", V.let(V.bits(f"uint8x{size}", stored)), []
    for i in range(count):
        half = V.intrinsic(kind, "llvm.aarch64.neon.uhadd.v16i8", rest, rest >> V.splat(_u8(1), size))
        found.append(V.let(V.bits(f"int32x{lanes}", half >> V.splat(_u8(6), size))))
        if i + 1 < count:
            rest = V.let(rest * V.splat(_u8(3), size))
    return found


def _u8(value: int) -> V.Expr:
    return V.cast("uint8", V.i32(value))


def _every_byte(value: int) -> int:
    """An int32 of four such bytes."""
    return int.from_bytes(bytes([value] * 4), "little", signed=True)
