"""Emits 16 output rows times a few activation rows of a quantized linear: the inner loops of `linear_int`.

The order of float operations is the same for any number of activation rows: group after group,
`sum = fma(float(integer sum of the group), scale, sum)`, of formats with offsets then
`sum = fma(float(-sum of the group's activations), offset, sum)`. So GEMV and GEMM agree bit for bit.

GEMM versions: Top/s of one thread at 256x2048x1024 (CPU time, best of 25, busy 2-core Zen 5, where vpdpbusd from
registers alone reaches 1.00, with 8 accumulators and broadcast loads 0.94):

| version | predicted | w4g32 | w4g128 | w8 |
|---|---|---|---|---|
| 8 rows x 1 tile, rows outside quads | 0.83: 77 loads for 64 dots | 0.74 | 0.75 | 0.76 |
| quads outside rows | 8 chains in flight at once | 0.76 | 0.78 | 0.76 |
| 16 rows x 1 tile | half the unpacking | 0.59, spills | 0.79 | 0.85 |
| 4 rows x 2 tiles | half the loads | 0.76 | 0.81 | 0.80 |
| 8 rows x 2 tiles: `pairs` | half the loads, 16 chains | 0.72, spills | 0.80 | 0.88 |
| `linear_frame.PANELS` 16, not 4 | weights stream from L2 | +3 % | +4 % | +2 %, +12 % at K=8192 |
| a loop over the groups of a block | LLVM mixed their sums, spills | +5 % | +9 % | |

Blocks of four groups gained more by that loop: `w4g32a` 16 %, `w2g128a` 20 %, `mxfp4` 80 %; a GEMV in a cache 12 %.

A GEMM prefetches the tiles of its next step (`linear_frame.ahead`): weights that are not in L2, 32x384x1536 w8, take
49 us instead of 82, 44 when they are; 8 KB ahead: 69; 128x384x1536: 184 instead of 214.

GEMV: with prefetch it reads DRAM at 95-100 % of the speed of a plain sum; without, 2-4 % less. From L2, 85-95 GB/s.
One thread from DRAM, GB/s (CPU time, busy machine, a plain sum 27-37; benchmarks/kernels_formats.py):

| version | w4g128 | w2g128 | w2g128a | w3g128 | w4g32 |
|---|---|---|---|---|---|
| prefetch 4 KB ahead of each vector that is read | 29 | 30 | 22 | 18 | 33 |
| in order of addresses | | | | 29-31 | |
| groups of 128 and more: 8 KB ahead | 31 | 32 | 24 | 33 | (32) |
| the lines of scales and zero points too | | | 27 | | |
"""

from __future__ import annotations

from collections.abc import Callable

from edgeq.kernels import dot, planes_tile
from edgeq.kernels import vector as V
from edgeq.kernels.codes import codes
from edgeq.kernels.linear_groups import Group, walk
from edgeq.kernels.linear_int_block import emit_block, takes
from edgeq.kernels.linear_int_operands import Operands
from edgeq.kernels.linear_scales import offsets, scales
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, WeightFormat
from edgeq.quant.layout import Piece
from edgeq.targets.isa import Isa

MAX_UNROLLED_DOTS = {"vnni512": 128, "avx2": 32}  # of one group; beyond, a loop over its vectors
PAIR_GROUP_BITS = 256  # a group of 64 4-bit weights
SMALL_SUM = 256  # int8 codes of a group whose sum fits in 16 bits: 256 * 127 < 2**15
CHAINS = 4  # integer accumulators of a GEMV with long groups: one chain of vpdpbusd would wait for its own latency


def pairs(isa: Isa, fmt: WeightFormat) -> bool:
    """Whether a GEMM does better on two tiles at a time: a quad is loaded once for both, and twice as many chains hide
    the latency of vpdpbusd; but with short groups the 16 float accumulators would be spilled at every group."""
    return isa.dot == "vnni512" and (fmt.group_size == 0 or fmt.group_size * max(4, fmt.bits) >= PAIR_GROUP_BITS)


def emit_tiles(x: Operands, tiles: list[V.Expr]) -> list[list[V.Expr]]:
    """float32x16 sums, [tile][activation row], of the tiles at byte offsets `tiles` (int64), computed side by side."""
    if planes_tile.takes(x.fmt):
        return [planes_tile.emit_tile(x, tile) for tile in tiles]
    if takes(x.isa):
        return [emit_block(x, tile) for tile in tiles]
    sums = Looped(x) if x.isa.accumulators == 1 else Unrolled(x, len(tiles))
    walk(x.fmt, x.K, tiles, sums.add, each=False)
    return sums.rows()


class Unrolled:
    """Sums of tiles in registers, all code written out: a float and an integer accumulator a tile and row."""

    def __init__(self, x: Operands, tiles: int):
        self.x, self.tiles = x, tiles
        self.sums = [[V.Reg("float32", V.splat(0.0)) for _ in range(x.rows)] for _ in range(tiles)]

    def rows(self) -> list[list[V.Expr]]:
        """float32x16 sums of every tile and activation row."""
        return [[row.v for row in tile] for tile in self.sums]

    def add(self, groups: list[Group]) -> None:
        """Add one group, of every tile, to every row's sum."""
        x, pieces = self.x, self.x.fmt.pieces(groups[0].length)
        chains = CHAINS if x.rows == 1 and any(p.steps > x.step(p) for p in pieces) else 1
        integers = [[[self._start(g, row, c) for g in groups] for row in range(x.rows)] for c in range(chains)]
        for piece in pieces:
            self._steps(groups, integers, piece)
        for t, group in enumerate(groups):
            if not x.fmt.symmetric:  # their lines in a row are what the CPU does not foresee
                x.prefetch(group.scale)
                x.prefetch(group.zero)
            scale = V.let(scales(x.isa, x.fmt, x.weights, group))
            for row, total in enumerate(self.sums[t]):
                integer = integers[0][row][t].v
                for chain in integers[1:]:
                    integer = integer + chain[row][t].v
                total.set(V.fma(V.cast("float32", integer), scale, total.v))
            if x.fmt.kind == "min":
                self._add_offsets(group, self.sums[t])

    def _add_offsets(self, group: Group, sums: list[V.Reg]) -> None:
        offset = V.let(offsets(self.x.isa, self.x.weights, group))
        for row, total in enumerate(sums):
            total.set(V.fma(V.splat(V.cast("float32", _minus_sum(self.x, group, V.i32(row)))), offset, total.v))

    def _start(self, group: Group, row: int, chain: int) -> V.Reg:
        """A row's accumulator. The first chain starts at what the zero points contribute."""
        return V.Reg("int32", V.splat(0) if chain else _correction(self.x, group, V.i32(row)))

    def _steps(self, groups: list[Group], integers: list[list[list[V.Reg]]], piece: Piece) -> None:
        """A piece of a group: unrolled when its steps are few, blocks of them taking turns on the chains."""
        x, chains = self.x, len(integers)
        size = x.step(piece)
        blocks, rest = divmod(piece.steps, size)
        dots = blocks * size * x.rows * self.tiles * len(piece.quads)
        looped = blocks // chains if dots > MAX_UNROLLED_DOTS[x.isa.dot] and blocks >= 2 * chains else 0
        if looped:
            with V.loop(0, looped) as s:
                for c in range(chains):
                    self._step(groups, integers[c], piece, s * V.i32(chains) + V.i32(c), size)
        for s in range(looped * chains, blocks):
            self._step(groups, integers[s % chains], piece, V.i32(s), size)
        if rest:
            self._step(groups, integers[0], piece, V.i32(blocks), rest)

    def _step(
        self, groups: list[Group], integers: list[list[V.Reg]], piece: Piece, block: V.Expr, count: int
    ) -> None:  # fmt: skip
        """Add `count` steps, the block-th `x.step` of the piece, to every accumulator [row][tile]."""
        x, size = self.x, self.x.step(piece)
        offset = V.i64(block) * V.i64(size * VECTOR_BYTES)
        loaded = [_load(x, g, piece, offset, count) for g in groups]
        quads = [quad.number + v for v in range(count) for quad in piece.quads]
        first = V.let(x.quad(groups[0]) + block * V.i32(size * x.rows))
        # Quads outside, rows inside: as many independent accumulators as there are rows are in flight.
        for start in range(0, len(quads), x.quads_at_once):
            some = slice(start, start + x.quads_at_once)
            for row, accumulators in enumerate(integers):
                values = [x.quads[first + V.i32(k * x.rows + row)] for k in quads[some]]
                values = [V.let(v) for v in values] if self.tiles > 1 else values
                for tile, acc in enumerate(accumulators):
                    dot.accumulate(x.isa, x.largest, acc, loaded[tile][some], values)


class Looped:
    """Sums of one tile on the stack, loops over vectors and rows: little code where a vector operation is much."""

    def __init__(self, x: Operands):
        self.x = x
        self.sums, self.integers = V.Stack(x.rows * TILE_ROWS, "float32"), V.Stack(x.rows * TILE_ROWS, "int32")
        self.scale = V.Stack(TILE_ROWS, "float32")
        with V.loop(0, x.rows) as row:
            self.sums.store(row * V.i32(TILE_ROWS), V.splat(0.0))

    def rows(self) -> list[list[V.Expr]]:
        """float32x16 sums of the tile's activation rows."""
        return [[self.sums.vector(i * TILE_ROWS) for i in range(self.x.rows)]]

    def add(self, groups: list[Group]) -> None:
        """Add one group to every row's sum."""
        (group,) = groups
        x = self.x
        with V.loop(0, x.rows) as row:
            self.integers.store(row * V.i32(TILE_ROWS), _correction(x, group, row))
        for piece in x.fmt.pieces(group.length):
            self._add_piece(group, piece)
        self.scale.store(V.i32(0), scales(x.isa, x.fmt, x.weights, group))
        self._add_scaled(lambda at, row: V.cast("float32", self.integers[at]))
        if x.fmt.kind == "min":
            self.scale.store(V.i32(0), offsets(x.isa, x.weights, group))
            self._add_scaled(lambda at, row: V.cast("float32", _minus_sum(x, group, row)))

    def _add_piece(self, group: Group, piece: Piece) -> None:
        """Add a piece to every row's integer sum."""
        x = self.x
        with V.loop(0, piece.steps) as s:
            loaded = _load(x, group, piece, V.i64(s) * V.i64(VECTOR_BYTES), 1)
            with V.loop(0, x.rows) as row:
                acc = V.Reg("int32", self.integers.vector(row * V.i32(TILE_ROWS)))
                quads = [x.quad(group) + (s + V.i32(quad.number)) * V.i32(x.rows) + row for quad in piece.quads]
                dot.accumulate(x.isa, x.largest, acc, loaded, [x.quads[quad] for quad in quads])
                self.integers.store(row * V.i32(TILE_ROWS), acc.v)

    def _add_scaled(self, value: Callable[[V.Expr, V.Expr], V.Expr]) -> None:
        """Add `value(place, row)` times `scale` to every sum."""
        x = self.x
        with V.loop(0, x.rows) as row, V.loop(0, TILE_ROWS) as lane:
            at = V.let(row * V.i32(TILE_ROWS) + lane)
            self.sums.store(at, V.fma(value(at, row), self.scale[lane], self.sums[at]))


def _correction(x: Operands, group: Group, row: V.Expr) -> V.Expr:
    """What the zero points contribute to 16 outputs: the fixed one is in `corr`, stored ones differ."""
    if x.fmt.kind == "min":
        return V.splat(0)
    correction = V.splat(_minus_sum(x, group, row))
    if x.fmt.symmetric:
        return correction
    zero = V.cast("int32", x.weights.vector(group.zero))
    if group.length <= SMALL_SUM:
        return dot.small_product(x.isa, zero, correction)
    return zero * correction


def _minus_sum(x: Operands, group: Group, row: V.Expr) -> V.Expr:
    """Minus the sum of the group's activations, times the fixed zero point where there is one."""
    return x.corr[x.first_corr + group.number * V.i32(x.rows) + row]


def _load(x: Operands, group: Group, piece: Piece, offset: V.Expr, count: int) -> list[V.Expr]:
    """Code vectors of `count` steps of a piece; offset: bytes from its first step to the first of them."""
    found: list[V.Expr] = []
    reads = len(piece.reads)
    for v in range(count):
        stored = []
        for j, read in enumerate(piece.reads):
            at = group.vectors + offset + V.i64((read + v) * VECTOR_BYTES)
            # in order of addresses, whatever the order of reading: w3g128 from DRAM is 1.3 times as fast
            nth = V.i64((v * reads + j) * VECTOR_BYTES)
            x.prefetch(at if reads == 1 or piece.steps == 1 else group.vectors + offset * V.i64(reads) + nth)
            stored.append(V.let(x.weights.view(at, "int32x16")))
        found += codes(x.isa, x.fmt, piece, stored)
    return found


assert TILE_ROWS == V.LANES
