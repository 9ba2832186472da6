"""Emits 16 output rows times a few rows of float activations: the inner loops of `linear_float`.

One canonical order for any number of activation rows: weight k goes to accumulator k mod 4, in the order in which the
format stores k; the four are joined (0 + 1) + (2 + 3). Quantized weights do this for each group on `code - zero`, exact
in float32, and add the group's sum with one fma by its scale.

GEMM versions, float weights, GFLOP/s of one thread (CPU time, best of 40, busy 2-core Zen 5; OpenBLAS 102 with AVX2):

| version | AVX-512: 128x384x1536 | 128x1536x384 | AVX2 | |
|---|---|---|---|---|
| 4 rows (AVX2 2) x 1 tile, four accumulators each: 20 loads for 16 fma | 183 | 158 | 75 | 70, spills |
| 8 rows x 2 tiles (AVX2 2 x 2), one pass an accumulator: 10 loads for 16 fma | 214 | 199 | 97 | 74 |
| AVX2: 4 rows x 1 tile, half the weights from L2 | | | 96 | 98 |
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.kernels import linear_float_arm
from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group, walk
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, WeightFormat
from edgeq.targets.isa import Isa

AHEAD = 4096  # bytes of software prefetch, as in linear_int_tile
CHAINS = 4
UNROLLED = 2  # steps of a pass of `emit_tiles`; K is a multiple of 16
_INTEGER_FLOAT = 0x4B000000  # bits of 2**23: an integer below 2**23 in the mantissa makes the float 2**23 + integer


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
    chains, bias = _chains(x), V.let(_code_bias(x, group))
    with V.loop(0, x.fmt.vectors(group.length)) as v:
        at = V.let(group.vectors + V.i64(v) * V.i64(VECTOR_BYTES))
        x.prefetch(at)
        stored = V.let(x.weights.view(at, "int32x16"))
        for half in range(8 // x.fmt.bits):
            start = V.let(group.start + V.i32(half * group.length // 2) + v * V.i32(4))
            for c in range(CHAINS):
                code = (stored >> V.splat(8 * c + 4 * half)) & V.splat((1 << x.fmt.bits) - 1)
                weight = V.bits("float32x16", code | V.splat(_INTEGER_FLOAT)) - bias
                _multiply(x, chains, c, V.let(weight), start + V.i32(c))
    scale = V.let(V.from_half(x.isa, x.weights.view(group.scale, "float16x16")))
    for total, row in zip(totals, chains, strict=True):
        total.set(V.fma(V.let(_join(row)), scale, total.v))


def _code_bias(x: Operands, group: Group) -> V.Expr:
    """2**23 + zero point: subtracting it from the bits 2**23 + code leaves the exact `code - zero`."""
    if x.fmt.zero_point is not None:
        return V.splat(float(2**23 + x.fmt.zero_point))
    zero = V.cast("int32", x.weights.vector(group.zero))
    return V.bits("float32x16", zero | V.splat(_INTEGER_FLOAT))
