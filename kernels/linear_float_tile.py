"""Emits 16 output rows times a few rows of float activations: the inner loops of `linear_float`.

One canonical order for any number of activation rows: weight k goes to accumulator k mod 4, in the order in which the
format stores k; the four are joined (0 + 1) + (2 + 3). Quantized weights do this for each group on `code - zero`, exact
in float32, and add the group's sum with one fma by its scale.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group, walk
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, WeightFormat
from edgeq.targets.isa import Isa

AHEAD = 4096  # bytes of software prefetch, as in linear_int_tile
CHAINS = 4
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

    def activation(self, row: int, k: V.Expr) -> V.Expr:
        """x[row, k] in every lane."""
        return V.splat(self.x[self.first + V.i32(row * self.K) + k])


def emit_tile(x: Operands, tile: V.Expr) -> list[V.Expr]:
    """float32x16 sums of the tile at byte offset `tile` (int64), one an activation row."""
    if x.fmt.is_float:
        return _float_tile(x, tile)
    totals = [V.Reg("float32", V.splat(0.0)) for _ in range(x.rows)]
    walk(x.fmt, x.K, [tile], lambda groups: _add_group(x, groups[0], totals))
    return [t.v for t in totals]


def _chains(x: Operands) -> list[list[V.Reg]]:
    return [[V.Reg("float32", V.splat(0.0)) for _ in range(CHAINS)] for _ in range(x.rows)]


def _join(chains: list[V.Reg]) -> V.Expr:
    return (chains[0].v + chains[1].v) + (chains[2].v + chains[3].v)


def _float_tile(x: Operands, tile: V.Expr) -> list[V.Expr]:
    row_bytes, chains = TILE_ROWS * x.fmt.bits // 8, _chains(x)
    with V.loop(0, x.K // CHAINS) as i:
        base = V.let(tile + V.i64(i) * V.i64(CHAINS * row_bytes))
        if x.rows == 1:
            for line in range(0, CHAINS * row_bytes, VECTOR_BYTES):
                x.weights.prefetch(base + V.i64(line + AHEAD))
        for c in range(CHAINS):
            stored = x.weights.view(base + V.i64(c * row_bytes), f"float{x.fmt.bits}x16")
            weight = V.let(V.from_half(x.isa, stored) if x.fmt.bits == 16 else stored)
            _multiply(x, chains, c, weight, i * V.i32(CHAINS) + V.i32(c))
    return [_join(c) for c in chains]


def _multiply(x: Operands, chains: list[list[V.Reg]], c: int, weight: V.Expr, k: V.Expr) -> None:
    for row in range(x.rows):
        chains[row][c].set(V.fma(weight, x.activation(row, k), chains[row][c].v))


def _add_group(x: Operands, group: Group, totals: list[V.Reg]) -> None:
    chains, bias = _chains(x), V.let(_code_bias(x, group))
    with V.loop(0, x.fmt.vectors(group.length)) as v:
        at = V.let(group.vectors + V.i64(v) * V.i64(VECTOR_BYTES))
        if x.rows == 1:
            x.weights.prefetch(at + V.i64(AHEAD))
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
