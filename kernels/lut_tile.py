"""Emits sums of 16 output rows by tables instead of products: 64 bytes of weights look up half of their bits at once.

A byte holds fields of several quads at one k of their 4 (`edgeq/quant/layout.py`). So half a byte, a nibble, says which
of a few activations count (T-MAC, EuroSys 2025): at 1 bit which of four, at 2 bits how often each of two. A table has
the sums of all 16 nibbles for all 4 k, entry `4 * nibble + k`; a sum takes up to 11 bits: two planes of 64 bytes, each
read by one `vpermb`, whose bytes `vpdpbusd` adds up by rows. Sums are exact: those of unpacking and multiplying.

Instructions for the nibbles of 64 bytes: index 2, lookups 2, additions 2. Unpacking and multiplying takes 3 for a quad:
12 for the four quads of such nibbles at 1 bit, 6 for the two at 2 bits.

GEMV of one thread of a busy Zen 5, weights in L2 and L3, CPU time, against `linear_int.gemv` in the same run (this CPU
starts 2 `vpermb`, 2 `vpdpbusd`, 2 shifts or 4 logic operations a cycle):

| version | w1g128 4096 x 4096 | its tables made too | t2g128 | w2g64 |
|---|---|---|---|---|
| a group's vectors unrolled | 1.04 x (LLVM spills what it looked up) | 0.92 | 0.48 | 0.40 |
| two, four tiles side by side: a table is loaded once for them | 1.01, 0.85 | 0.89, 0.78 | 0.56 | 0.58 |
| a loop over vectors, one tile: kept | 1.34-1.39 | 1.18-1.21 | 0.40 | |
| the same, two chains a plane | 1.28 | 1.16 | | |

At 1024 x 1024 making the tables costs more than they save (0.74-0.77). Products take 32 GB/s of 1-bit weights a thread:
what comes from DRAM, which was not measured, comes slower.
"""

from __future__ import annotations

from edgeq.kernels import vector as V
from edgeq.kernels.codes import byte_levels
from edgeq.kernels.linear_groups import Group, walk
from edgeq.kernels.linear_int_operands import Operands
from edgeq.kernels.linear_scales import scales
from edgeq.quant.format import VECTOR_BYTES, WeightFormat
from edgeq.quant.layout import fields_of, vectors_of
from edgeq.targets.isa import Isa

TABLE_BYTES = 2 * VECTOR_BYTES  # low bytes of the 64 sums, then high bytes
NIBBLE = 4  # bits
_K = int.from_bytes(bytes(range(4)), "little")
_INDEX = int.from_bytes(bytes([0x3C] * 4), "little")
_ONES = 0x01010101


def looks_up(isa: Isa) -> bool:
    """Whether this instruction set has tables of 64 bytes."""
    return "avx512vbmi" in isa.needs


def table_count(fmt: WeightFormat, K: int) -> int:
    """Tables of a row of K activations: two (a nibble each) a vector."""
    return sum(2 * _vectors(fmt, end - start) for start, end in fmt.group_bounds(K))


def emit_tables(fmt: WeightFormat, K: int, q: V.Memory, tables: V.Memory) -> None:
    """Fill `tables` from one row's codes (int32 quads): group after group, a vector's low and high nibble together."""
    bounds = fmt.group_bounds(K)
    size = bounds[0][1]
    with V.loop(0, K // size) as group:
        _emit_group(fmt, size, group, size, q, tables)
    if K % size:
        _emit_group(fmt, size, V.i32(K // size), K % size, q, tables)


def _emit_group(
    fmt: WeightFormat, size: int, group: V.Expr, length: int, q: V.Memory, tables: V.Memory
) -> None:  # fmt: skip
    vectors, quads, per_byte = _vectors(fmt, length), length // 4, fields_of(fmt.bits)
    quad, first = V.let(group * V.i32(size // 4)), V.let(group * V.i32(2 * _vectors(fmt, size)))

    def value(number: V.Expr) -> V.Expr:
        """The quad of this number; zeros where the group has none."""
        if quads == vectors * per_byte:
            return q[quad + number]
        last = V.minimum(number, V.i32(quads - 1))
        return V.select(number < V.i32(quads), q[quad + last], V.i32(0))

    with V.loop(0, vectors) as v:
        for half in range(2):
            fields = range(half * per_byte // 2, (half + 1) * per_byte // 2)
            words = [V.let(value(V.i32(f * vectors) + v)) for f in fields]
            at = V.let((first + v * V.i32(2) + V.i32(half)) * V.i32(TABLE_BYTES // 4))
            for plane, x in enumerate(_table(words, fmt.bits)):
                tables.store(at + V.i32(plane * VECTOR_BYTES // 4), x)


def _table(words: list[V.Expr], width: int) -> tuple[V.Expr, V.Expr]:
    """Low and high bytes (int32x16 each) of the sums of a nibble whose fields count these quads."""
    kind, byte = "int16x32", V.splat(V.cast("int16", V.i32(8)), 32)
    even = odd = None
    for position in range(NIBBLE):
        mask = V.splat(0) - ((V.lane_numbers() >> V.splat(position)) & V.splat(1))  # of nibbles with this bit
        word = V.let(V.bits(kind, V.splat(words[position // width]) & mask))
        up = V.splat(V.cast("int16", V.i32(position % width)), 32)
        parts = [V.let((((word << byte) >> byte)) << up), V.let((word >> byte) << up)]
        even, odd = parts if even is None else (V.let(even + parts[0]), V.let(odd + parts[1]))
    low, high = V.splat(0x00FF00FF), V.splat(-0x00FF0100)
    a, b = (V.let(V.bits("int32x16", x)) for x in (even, odd))
    lows = (a & low) | ((b & low) << V.splat(8))
    return V.let(lows), V.let(((a & high) >> V.splat(8)) & low | (b & high))


def emit_tiles(x: Operands, tables: V.Memory, tiles: list[V.Expr]) -> list[V.Expr]:
    """float32x16 sums of the tiles at byte offsets `tiles` (int64), in the order of `linear_int_tile`."""
    totals = [V.Reg("float32", V.splat(0.0)) for _ in tiles]
    factor = byte_levels(x.fmt)[1]  # what a code of 1 counts

    def add(groups: list[Group]) -> None:
        correction = V.let(V.splat(x.corr[x.first_corr + groups[0].number]))
        for group, total, counted in zip(groups, totals, _sums(x, tables, groups), strict=True):
            sums = V.let(counted)
            integer = correction + (sums << V.splat(1) if factor == 2 else sums)
            scale = V.let(scales(x.isa, x.fmt, x.weights, group))
            total.set(V.fma(V.cast("float32", integer), scale, total.v))

    walk(x.fmt, x.K, tiles, add)
    return [V.let(total.v) for total in totals]


def _sums(x: Operands, tables: V.Memory, groups: list[Group]) -> list[V.Expr]:
    """int32x16: what a group's codes count, of each tile."""
    vectors, size = _vectors(x.fmt, groups[0].length), x.fmt.group_size or x.K
    planes = [[V.Reg("int32", V.splat(0)) for _ in range(2)] for _ in groups]
    first = V.let(groups[0].number * V.i32(2 * _vectors(x.fmt, size)))
    with V.loop(0, vectors) as v:
        _step(x, tables, groups, first, v, planes)
    return [low.v + (high.v << V.splat(8)) for low, high in planes]


def _step(
    x: Operands, tables: V.Memory, groups: list[Group], first: V.Expr, v: V.Expr, sums: list[list[V.Reg]]
) -> None:  # fmt: skip
    """Both nibbles of a vector of each tile."""
    places = [V.let(group.vectors + V.i64(v) * V.i64(VECTOR_BYTES)) for group in groups]
    for at in places:
        x.prefetch(at)
    stored = [V.let(x.weights.view(at, "int32x16")) for at in places]
    ones = V.splat(_ONES)
    for half in range(2):
        table = V.let((first + v * V.i32(2) + V.i32(half)) * V.i32(TABLE_BYTES // 4))
        planes = [V.let(V.bits("int8x64", tables.vector(table + V.i32(p * VECTOR_BYTES // 4)))) for p in range(2)]
        for codes, (low, high) in zip(stored, sums, strict=True):
            moved = codes >> V.splat(2) if half else codes << V.splat(2)
            index = V.let(V.bits("int8x64", (moved & V.splat(_INDEX)) | V.splat(_K)))
            looked = [V.intrinsic("int8x64", "llvm.x86.avx512.permvar.qi.512", plane, index) for plane in planes]
            low.set(_dot(low.v, V.bits("uint8x64", looked[0]), V.bits("int8x64", ones)))
            high.set(_dot(high.v, V.bits("uint8x64", ones), looked[1]))


def _dot(total: V.Expr, unsigned: V.Expr, signed: V.Expr) -> V.Expr:
    return V.intrinsic("int32x16", "llvm.x86.avx512.vpdpbusd.512", total, unsigned, signed)


def _vectors(fmt: WeightFormat, length: int) -> int:
    return vectors_of(fmt.bits, length // 4)
