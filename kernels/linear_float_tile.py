"""Emits 16 output rows times a few rows of float activations: the inner loops of `linear_float`.

One canonical order for any number of activation rows: weight k goes to accumulator k mod 4, in the order in which the
format stores k; the four are joined (0 + 1) + (2 + 3). Quantized weights do this for each group on levels (code - zero,
an entry of a table, a float of 8 bits), exact in float32, and add the group's sum with one fma by its scale; then, of a
group with an offset, the sum of its activations (in four accumulators likewise) with one fma by minus the offset.

The order in which a group's k are stored is that of `fmt.pieces`: steps, and within a step its quads. So 4 bits take a
quad of the first half, one of the second; 2 bits one of each quarter; 3 bits, a step being 8 quads, two neighbours in
steps of each quarter; five trits one of each fifth, and where the last fifth is shorter, the other four's rest after.

GEMM versions, float weights, GFLOP/s of one thread (CPU time, best of 40, busy 2-core Zen 5; OpenBLAS 102 with AVX2):

| version | AVX-512: 128x384x1536 | 128x1536x384 | AVX2 | |
|---|---|---|---|---|
| 4 rows (AVX2 2) x 1 tile, four accumulators each: 20 loads for 16 fma | 183 | 158 | 75 | 70, spills |
| 8 rows x 2 tiles (AVX2 2 x 2), one pass an accumulator: 10 loads for 16 fma | 214 | 199 | 97 | 74 |
| AVX2: 4 rows x 1 tile, half the weights from L2 | | | 96 | 98 |

Codes of 4 bits looked up by `vpermps`, not put into a mantissa, AVX-512, 256x1024 in cache: GEMV 14-17 % faster, of 16
rows 3-4 % (interleaved, best of 60, CPU time, busy machine).
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.kernels import linear_float_arm
from edgeq.kernels import vector as V
from edgeq.kernels.float_weights import weights_of
from edgeq.kernels.linear_groups import Group, walk
from edgeq.kernels.linear_scales import offsets, scales
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, WeightFormat
from edgeq.targets.isa import Isa

AHEAD = 4096  # bytes of software prefetch, as in linear_int_tile
CHAINS = 4
UNROLLED = 2  # steps of a pass of `emit_tiles`; K is a multiple of 16


@dataclass(frozen=True)
class Operands:
    """The kernel's inputs: `rows` rows of K floats from element `first` of x on."""

    isa: Isa
    fmt: WeightFormat
    K: int
    rows: int
    weights: V.Memory  # uint8
    x: V.Memory
    first: V.Expr
    ahead: int = AHEAD  # bytes of software prefetch; 0: none

    def activation(self, row: int, k: V.Expr) -> V.Expr:
        """x[row, k] in every lane."""
        return V.splat(self.x[self.first + V.i32(row * self.K) + k])

    def quad(self, row: int, k: V.Expr) -> V.Expr:
        """float32x4: x[row, k .. k + 3]."""
        return self.x.vector(self.first + V.i32(row * self.K) + k, 4)

    def prefetch(self, at: V.Expr) -> None:
        """Ask for the weights `ahead` bytes after byte `at` where that pays."""
        if self.ahead and self.isa.prefetch:
            self.weights.prefetch(at + V.i64(self.ahead))


def emit_tile(x: Operands, tile: V.Expr) -> list[V.Expr]:
    """float32x16 sums of the tile at byte offset `tile` (int64), one an activation row."""
    if x.fmt.is_float:
        return _float_tile(x, tile)
    if x.isa.by_lane:
        return linear_float_arm.emit_tile(x, tile)
    totals = [V.Reg("float32", V.splat(0.0)) for _ in range(x.rows)]
    walk(x.fmt, x.K, [tile], lambda groups: _add_group(x, groups[0], totals))
    return [t.v for t in totals]


def emit_tiles(x: Operands, tiles: list[V.Expr]) -> list[list[V.Expr]]:
    """float32x16 sums, [tile][activation row], of float tiles at byte offsets `tiles`, computed side by side.

    Each accumulator by itself, one pass over K after the other: then 8 rows of 2 tiles fit in registers, and an element
    of x that is loaded meets two weights. All accumulators at once need more loads than they do multiplications.
    """
    sums = V.Stack(2 * len(tiles) * x.rows * TILE_ROWS, "float32")

    def at(half: int, tile: int, row: int) -> int:
        return ((half * len(tiles) + tile) * x.rows + row) * TILE_ROWS

    for chain in range(CHAINS):
        half, second = divmod(chain, 2)
        for t, line in enumerate(_pass(x, tiles, chain)):
            for row, total in enumerate(line):
                place = at(half, t, row)
                sums.store(place, sums.vector(place) + total.v if second else total.v)
    every = [[(at(0, t, row), at(1, t, row)) for row in range(x.rows)] for t in range(len(tiles))]
    return [[sums.vector(a) + sums.vector(b) for a, b in line] for line in every]


def _pass(x: Operands, tiles: list[V.Expr], chain: int) -> list[list[V.Reg]]:
    """Sums over k = chain, chain + 4, ..., [tile][row]."""
    sums = [[V.Reg("float32", V.splat(0.0)) for _ in range(x.rows)] for _ in tiles]
    row_bytes = TILE_ROWS * x.fmt.bits // 8
    with V.loop(0, x.K // (CHAINS * UNROLLED)) as i:
        for u in range(UNROLLED):
            k = V.let(i * V.i32(CHAINS * UNROLLED) + V.i32(u * CHAINS + chain))
            places = [V.let(tile + V.i64(k) * V.i64(row_bytes)) for tile in tiles]
            for place in places:
                x.prefetch(place)
            weights = [V.let(_weight(x, place)) for place in places]
            for row in range(x.rows):
                value = V.let(x.activation(row, k))
                for line, weight in zip(sums, weights, strict=True):
                    line[row].set(V.fma(weight, value, line[row].v))
    return sums


def _weight(x: Operands, at: V.Expr) -> V.Expr:
    stored = x.weights.view(at, f"float{x.fmt.bits}x16")
    return V.from_half(x.isa, stored) if x.fmt.bits == 16 else stored


def _chains(x: Operands) -> list[list[V.Reg]]:
    return [[V.Reg("float32", V.splat(0.0)) for _ in range(CHAINS)] for _ in range(x.rows)]


def _join(chains: list[V.Reg]) -> V.Expr:
    return (chains[0].v + chains[1].v) + (chains[2].v + chains[3].v)


def _float_tile(x: Operands, tile: V.Expr) -> list[V.Expr]:
    row_bytes, chains = TILE_ROWS * x.fmt.bits // 8, _chains(x)
    with V.loop(0, x.K // CHAINS) as i:
        base = V.let(tile + V.i64(i) * V.i64(CHAINS * row_bytes))
        for line in range(0, CHAINS * row_bytes, VECTOR_BYTES):
            x.prefetch(base + V.i64(line))
        for c in range(CHAINS):
            weight = V.let(_weight(x, base + V.i64(c * row_bytes)))
            _multiply(x, chains, c, weight, i * V.i32(CHAINS) + V.i32(c))
    return [_join(c) for c in chains]


def _multiply(x: Operands, chains: list[list[V.Reg]], c: int, weight: V.Expr, k: V.Expr) -> None:
    for row in range(x.rows):
        chains[row][c].set(V.fma(weight, x.activation(row, k), chains[row][c].v))


def _add_group(x: Operands, group: Group, totals: list[V.Reg]) -> None:
    chains, weights = _chains(x), weights_of(x, group)
    seen = [V.Reg("float32", V.splat(0.0, CHAINS), CHAINS) for _ in range(x.rows if x.fmt.has_offsets else 0)]
    for piece in x.fmt.pieces(group.length):
        with V.loop(0, piece.steps) as s:
            quads = weights.step(piece, [_read(x, group, read, s) for read in piece.reads])
            for (number, _), quad in zip(piece.quads, quads, strict=True):
                k = V.let(group.start + V.i32(number * CHAINS) + s * V.i32(CHAINS))
                _multiply_quad(x, chains, quad, k)
                for row, total in enumerate(seen):
                    total.set(total.v + x.quad(row, k))
    scale = V.let(scales(x.isa, x.fmt, x.weights, group))
    for total, parts in zip(totals, chains, strict=True):
        total.set(V.fma(V.let(_join(parts)), scale, total.v))
    if seen:
        offset = V.let(V.splat(0.0) - offsets(x.isa, x.weights, group))
        for total, lanes in zip(totals, seen, strict=True):
            total.set(V.fma(V.splat(linear_float_arm.joined(lanes.v)), offset, total.v))


def _read(x: Operands, group: Group, read: int, s: V.Expr) -> V.Expr:
    """int32x16: vector `read + s` of a group."""
    at = V.let(group.vectors + V.i64(s) * V.i64(VECTOR_BYTES) + V.i64(read * VECTOR_BYTES))
    x.prefetch(at)
    return V.let(x.weights.view(at, "int32x16"))


def _multiply_quad(x: Operands, chains: list[list[V.Reg]], quad: list[V.Expr], k: V.Expr) -> None:
    """Add a quad's weights times x[row, k .. k + 3]; in a loop where each lane's fma is a call."""
    if x.isa.accumulators > 1:
        for c, weight in enumerate(quad):
            _multiply(x, chains, c, weight, k + V.i32(c))
        return
    some = V.Stack(2 * CHAINS * TILE_ROWS, "float32")
    for row, registers in enumerate(chains):
        for c, weight in enumerate(quad):
            some.store(c * TILE_ROWS, weight)
            some.store((CHAINS + c) * TILE_ROWS, registers[c].v)
        with V.loop(0, CHAINS * TILE_ROWS) as at:  # too many for LLVM to unroll
            value = x.x[x.first + V.i32(row * x.K) + k + at // V.i32(TILE_ROWS)]
            total = at + V.i32(CHAINS * TILE_ROWS)
            some.store(total, V.fma(some[at], value, some[total]))
        for c, register in enumerate(registers):
            register.set(some.vector((CHAINS + c) * TILE_ROWS))
