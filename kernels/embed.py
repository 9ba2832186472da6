"""Embedding rows gathered out of a packed weight, and learned positions.

The layout is the linear kernels' (tiles of 16 rows), so that a tied output head and the embedding are the same bytes; a
row is then a 4-byte piece of every 64-byte vector of its tile. Every format of one number a group can be embedded:
heads that were imported may be in any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeq.kernels.float_weights import FLOAT8, QUAD, check, float8
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import padded, symbol
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Stack,
    bits,
    cast,
    concat,
    f32,
    fence,
    function,
    i32,
    i64,
    let,
    loop,
    maximum,
    splat,
)
from edgeq.quant.format import VECTOR_BYTES, GroupOffsets, WeightFormat
from edgeq.quant.kinds import TRIT
from edgeq.quant.layout import Field
from edgeq.targets.isa import Isa


@factory
def embed(N: int, K: int, fmt: WeightFormat, scale: float = 1.0) -> Kernel:
    """`o[i] = scale * w[ids[i]]` for rows lo..hi; parameters m, ids: i32[m], w: packed [N, P], o: f32[m][P].

    P = padded(K): channels from K on are stored as zeros. Ids must be below N.
    """
    name, K = symbol("embed", N, K, str(fmt), float(scale)), padded(K)
    fmt.check_width(K)
    check(fmt)
    row = _FloatRow(K, fmt, float(scale)) if fmt.is_float else _CodeRow(K, fmt, float(scale))

    def body(lo: Expr, hi: Expr, m: Expr, ids: Memory, w: Memory, o: Memory) -> None:
        with loop(lo, hi) as i:
            token = let(ids[i])
            row.emit(w, let(i64(token >> 4) * i64(row.tile)), let(token & 15), o, let(i * K))

    def build(isa: Isa) -> Any:
        return function(name, isa, ["m"], {"ids": "int32", "w": row.dtype, "o": "float32"}, body)

    params = (Param("m", "value"), Param("ids", "in"), Param("w", "weight"), Param("o", "out"))
    return Kernel(name, params, build, "row", weight_bytes=fmt.tile_bytes(K))


@factory
def positions(width: int, offset: int) -> Kernel:
    """`o[i] = x[i] + w[pos + i + offset]` for rows lo..hi; parameters m, pos, w: f32[][P], x, o: f32[m][P]."""
    name, width = symbol("positions", width, offset), padded(width)

    def body(lo: Expr, hi: Expr, m: Expr, pos: Expr, w: Memory, x: Memory, o: Memory) -> None:
        with loop(lo * (width // LANES), hi * (width // LANES)) as i:
            o.store(i * LANES, x.vector(i * LANES) + w.vector((pos + offset) * width + i * LANES))

    def build(isa: Isa) -> Any:
        return function(name, isa, ["m", "pos"], dict.fromkeys(("w", "x", "o"), "float32"), body)

    params = (Param("m", "value"), Param("pos", "value"), Param("w", "weight"), Param("x", "in"), Param("o", "out"))
    return Kernel(name, params, build, "row", weight_bytes=4 * width)


def reference(ids: np.ndarray, weight: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Rows of the dequantized weight [N, K] in float64, times scale."""
    return np.asarray(weight, np.float64)[ids] * scale


class _FloatRow:
    """A row of `[N/16][K][16]` floats."""

    def __init__(self, K: int, fmt: WeightFormat, scale: float):
        self.K, self.scale = K, scale
        self.tile, self.dtype = K * LANES, f"float{fmt.bits}"

    def emit(self, w: Memory, tile: Expr, row: Expr, o: Memory, at: Expr) -> None:
        """Row `row` of the tile at element `tile` -> K floats at `o[at]`."""
        with loop(0, self.K) as k:
            y = cast("float32", w[tile + i64(k * LANES + row)])
            o.store(at + k, y if self.scale == 1.0 else y * self.scale)


class _CodeRow:
    """A row of codes in groups: blocks of equal shape in a loop, the last block by itself."""

    dtype = "uint8"

    def __init__(self, K: int, fmt: WeightFormat, scale: float):
        self.K, self.fmt, self.scale = K, fmt, scale
        self.tile, self.bounds, self.offsets = fmt.tile_bytes(K), fmt.group_bounds(K), fmt.offsets(K)
        self.whole = (len(self.bounds) - 1) // fmt.block_groups  # blocks before the last one

    def emit(self, w: Memory, tile: Expr, row: Expr, o: Memory, at: Expr) -> None:
        """Row `row` of the tile at byte `tile` -> K floats at `o[at]`."""
        self.levels = self._table()
        n = self.fmt.block_groups
        if self.whole:
            channels, size = n * self.fmt.group_size, self.fmt.block_bytes(self.K)
            with loop(0, self.whole) as b:
                start, to = let(tile + i64(b * size)), let(at + b * channels)
                for g in range(n):
                    self._group(w, start, g, row, o, to)
        for g in range(self.whole * n, len(self.bounds)):
            self._group(w, tile, g, row, o, at)

    def _table(self) -> Stack | None:
        """Levels in memory, where no rule says them."""
        levels = self.fmt.levels
        if levels is None or self.fmt.bits != 4:
            return None
        table = Stack(len(levels), "float32")
        for code, level in enumerate(levels):
            table.store(i32(code), f32(float(level)))
        return table

    def _group(self, w: Memory, tile: Expr, g: int, row: Expr, o: Memory, at: Expr) -> None:
        begin, end = self.bounds[g]
        vectors = let(tile + i64(self.offsets[g].vectors + row * QUAD))
        finish = self._finish(w, tile, self.offsets[g], row)
        for piece in self.fmt.pieces(end - begin):
            with loop(0, piece.steps) as s:
                reads = [let(w.view(vectors + i64((s + read) * VECTOR_BYTES), "int32")) for read in piece.reads]
                for number, fields in piece.quads:
                    code = let(_bytes_of(reads, fields))
                    y = finish(code)
                    k = begin + number * QUAD + s * QUAD
                    o.store(at + k, y if self.scale == 1.0 else fence(y) * splat(self.scale, QUAD))

    def _finish(self, w: Memory, tile: Expr, at: GroupOffsets, row: Expr) -> Callable[[Expr], Expr]:
        """What makes float32x4 of a quad's codes, int32 of four bytes, in a group."""
        scale = let(splat(self._scale(w, tile, at, row), QUAD))
        if self.fmt.has_offsets:
            offset = let(splat(cast("float32", w.view(tile + i64(at.zero + row * 2), "float16")), QUAD))
            return lambda codes: fence(self._level(codes, None) * scale) - offset
        zero = None if self.fmt.symmetric else let(splat(cast("int32", w[tile + i64(at.zero + row)]), QUAD))
        return lambda codes: fence(self._level(codes, zero) * scale)

    def _scale(self, w: Memory, tile: Expr, at: GroupOffsets, row: Expr) -> Expr:
        if self.fmt.meaning.scale_bytes == 2:
            return cast("float32", w.view(tile + i64(at.scale + row * 2), "float16"))
        exponent = let(cast("int32", w[tile + i64(at.scale + row)]))  # as linear_scales: 2^(e - 128)
        return bits("float32", (maximum(exponent, i32(1)) - i32(1)) << i32(23))

    def _level(self, codes: Expr, zero: Expr | None) -> Expr:
        """float32x4 of four bytes, lowest first; zero: i32x4 of this group, None where the format says it."""
        if self.levels is not None:
            return concat([self.levels[(codes >> i32(8 * k)) & i32(255)] for k in range(QUAD)])
        if self.fmt.kind in FLOAT8:
            return float8(self.fmt, cast("int32", bits("uint8x4", codes)) << splat(24, QUAD))
        wide = cast("int32", bits("uint8x4", codes))
        if self.fmt.kind == "binary":
            return cast("float32", wide + wide - splat(1, QUAD))
        return cast("float32", wide - (splat(self.fmt.zero_point or 0, QUAD) if zero is None else zero))


def _bytes_of(reads: list[Expr], fields: tuple[Field, ...]) -> Expr:
    """int32 of four codes, a byte each, out of the words that a step reads."""
    parts = [_part(reads[f.read], f) for f in fields]
    return parts[0] if len(parts) == 1 else parts[0] | parts[1]


def _part(stored: Expr, f: Field) -> Expr:
    if f.width == 8:
        return stored
    if f.width == TRIT:
        return _digit(stored, f.index)
    every = int.from_bytes(bytes([(1 << f.width) - 1] * 4), "little")
    return ((stored >> i32(f.index * f.width)) & i32(every)) << i32(f.place)


def _digit(stored: Expr, index: int) -> Expr:
    """Digit `index` of every byte, as `codes.codes` finds it: bytes as 16-bit words, times 3."""
    low, found = i32(0x00FF00FF), []
    for word in (stored & low, (stored >> i32(8)) & low):
        for _ in range(index):
            word = let((word * i32(3)) & low)
        found.append(let((word * i32(3) >> i32(8)) & i32(0x00030003)))
    return found[0] | (found[1] << i32(8))
