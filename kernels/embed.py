"""Embedding rows gathered out of a packed weight, and learned positions.

The layout is the linear kernels' (tiles of 16 rows), so that a tied output head and the embedding are the same bytes; a
row is then a 4-byte piece of every 64-byte vector of its tile.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import padded, symbol
from edgeq.kernels.vector import LANES, Expr, Memory, cast, fence, function, i32, i64, let, loop, splat
from edgeq.quant.format import VECTOR_BYTES, GroupOffsets, WeightFormat
from edgeq.targets.isa import Isa


@factory
def embed(N: int, K: int, fmt: WeightFormat, scale: float = 1.0) -> Kernel:
    """`o[i] = scale * w[ids[i]]` for rows lo..hi; parameters m, ids: i32[m], w: packed [N, P], o: f32[m][P].

    P = padded(K): channels from K on are stored as zeros. Ids must be below N.
    """
    name, K = symbol("embed", N, K, str(fmt), float(scale)), padded(K)
    fmt.check_width(K)
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
    """A row of 4- or 8-bit codes in groups: blocks of equal shape in a loop, the last block by itself."""

    dtype = "uint8"

    def __init__(self, K: int, fmt: WeightFormat, scale: float):
        self.K, self.fmt, self.scale = K, fmt, scale
        self.tile, self.bounds, self.offsets = fmt.tile_bytes(K), fmt.group_bounds(K), fmt.offsets(K)
        self.whole = (len(self.bounds) - 1) // fmt.block_groups  # blocks before the last one

    def emit(self, w: Memory, tile: Expr, row: Expr, o: Memory, at: Expr) -> None:
        """Row `row` of the tile at byte `tile` -> K floats at `o[at]`."""
        n = self.fmt.block_groups
        if self.whole:
            channels, size = n * self.fmt.group_size, self.fmt.block_bytes(self.K)
            with loop(0, self.whole) as b:
                start, to = let(tile + i64(b * size)), let(at + b * channels)
                for g in range(n):
                    self._group(w, start, g, row, o, to)
        for g in range(self.whole * n, len(self.bounds)):
            self._group(w, tile, g, row, o, at)

    def _group(self, w: Memory, tile: Expr, g: int, row: Expr, o: Memory, at: Expr) -> None:
        begin, end = self.bounds[g]
        offsets, half = self.offsets[g], (end - begin) // 2
        scale, zero = self._parameters(w, tile, offsets, row)

        def put(k: Expr, codes: Expr) -> None:
            y = fence(cast("float32", cast("int32", codes) - zero) * scale)
            o.store(at + k, y if self.scale == 1.0 else y * splat(self.scale, 4))

        with loop(0, self.fmt.vectors(end - begin)) as v:
            quad = let(w.vector(tile + i64(offsets.vectors + v * VECTOR_BYTES + row * 4), 4))
            if self.fmt.bits == 8:
                put(begin + v * 4, quad)
            else:
                put(begin + v * 4, quad & splat(_u8(15), 4))
                put(begin + half + v * 4, quad >> splat(_u8(4), 4))

    def _parameters(self, w: Memory, tile: Expr, offsets: GroupOffsets, row: Expr) -> tuple[Expr, Expr]:
        """Scale f32x4 and zero point i32x4 of this row in a group."""
        scale = let(splat(cast("float32", w.view(tile + i64(offsets.scale + row * 2), "float16")), 4))
        if self.fmt.zero_point is not None:
            return scale, splat(self.fmt.zero_point, 4)
        return scale, let(splat(cast("int32", w[tile + i64(offsets.zero + row)]), 4))


def _u8(x: int) -> Expr:
    return cast("uint8", i32(x))
