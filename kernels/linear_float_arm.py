"""Emits 16 output rows times a few rows of float activations on ARM, weights quantized: inner loops of `linear_float`.

A pass takes 16 outputs of one row, or 4 outputs of 4 rows, so that four partial sums each (`linear_float_tile` has
their order) fit in registers. A code becomes a float in two instructions: `tbl` puts byte k of each output's four into
the top of a lane, `scvtf #24` reads it as a fraction. Codes are centred before, 16 in one subtraction; 8-bit ones with
stored zero points leave the range of a byte and are centred as floats.

Instructions of the loop over groups for 100 multiply-adds, w4g32:

| version | GEMV | GEMM |
|---|---|---|
| shift, mask, or, subtract a lane (`linear_float_tile`) | 156 | 156 |
| tbl, scvtf | 110 | 54 |
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tvm import tirx

from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group, walk
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES

if TYPE_CHECKING:
    from edgeq.kernels.linear_float_tile import Operands

ROWS = 4  # activation rows of a pass of several
_CHAINS = 4
_NIBBLES = 0x0F0F0F0F
_EVERY_BYTE = 0x01010101


def emit_tile(x: Operands, tile: V.Expr) -> list[V.Expr]:
    """float32x16 sums of the tile at byte offset `tile` (int64), one an activation row."""
    sums, outputs = V.Stack(x.rows * TILE_ROWS, "float32"), TILE_ROWS if x.rows == 1 else 4
    for first in range(0, TILE_ROWS, outputs):
        columns = [_Column(x, n) for n in range(first, first + outputs, 4)]
        walk(x.fmt, x.K, [tile], partial(_add_group, x, columns))
        for column in columns:
            column.store(sums)
    return [sums.vector(row * TILE_ROWS) for row in range(x.rows)]


def _add_group(x: Operands, columns: list[_Column], groups: list[Group]) -> None:
    (group,) = groups
    for column in columns:
        column.begin(group)
    with V.loop(0, x.fmt.vectors(group.length)) as v:
        at = V.let(group.vectors + V.i64(v) * V.i64(VECTOR_BYTES))
        halves = [group.start + V.i32(half * group.length // 2) + v * V.i32(4) for half in range(8 // x.fmt.bits)]
        values = [[V.let(x.quad(row, k)) for row in range(x.rows)] for k in map(V.let, halves)]
        for column in columns:
            column.add(at, values)
    for column in columns:
        column.end(group)


class _Column:
    """Sums of outputs `output` .. `output + 3` of a tile."""

    def __init__(self, x: Operands, output: int):
        self.x, self.output = x, output
        self.totals = [_zero() for _ in range(x.rows)]

    def begin(self, group: Group) -> None:
        """Empty partial sums; the group's zero points."""
        self.chains = [[_zero() for _ in range(_CHAINS)] for _ in range(self.x.rows)]
        if self.x.fmt.zero_point is None:
            self.zero = V.let(V.cast("int32", self.x.weights.vector(group.zero + V.i64(self.output), 4)))

    def add(self, at: V.Expr, values: list[list[V.Expr]]) -> None:
        """Add the weight vector at byte `at`; values: 4 activations, [half][row]."""
        stored = V.let(self.x.weights.view(at + V.i64(self.output * 4), "int32x4"))
        for half, rows in enumerate(values):
            codes = V.let(self._centred(stored, half))
            for c in range(_CHAINS):
                weight = V.let(self._weight(codes, c))
                for row, chains in zip(rows, self.chains, strict=True):
                    chains[c].set(V.fma(weight, V.splat(V.part(row, c, 1), 4), chains[c].v))

    def end(self, group: Group) -> None:
        """Partial sums joined, scaled, into the totals."""
        scale = V.let(V.from_half(self.x.isa, self.x.weights.view(group.scale + V.i64(self.output * 2), "float16x4")))
        for total, (a, b, c, d) in zip(self.totals, self.chains, strict=True):
            total.set(V.fma(V.let((a.v + b.v) + (c.v + d.v)), scale, total.v))

    def store(self, sums: V.Stack) -> None:
        """Totals, `[row][output]`."""
        for row, total in enumerate(self.totals):
            sums.store(row * TILE_ROWS + self.output, total.v)

    @property
    def _late(self) -> bool:
        """Whether codes are centred as floats."""
        return self.x.fmt.bits == 8 and self.x.fmt.zero_point is None

    def _centred(self, stored: V.Expr, half: int) -> V.Expr:
        """int8x16: 4 codes of each output, less their zero point."""
        codes = V.bits("uint8x16", stored)
        if self.x.fmt.bits == 4:
            codes = codes >> _bytes(4) if half else V.bits("uint8x16", stored & V.splat(_NIBBLES, 4))
        if self._late:
            return V.bits("int8x16", codes)
        point = self.x.fmt.zero_point
        zero = _bytes(point) if point is not None else V.bits("uint8x16", self.zero * V.splat(_EVERY_BYTE, 4))
        return V.bits("int8x16", codes - zero)

    def _weight(self, codes: V.Expr, c: int) -> V.Expr:
        """float32x4: byte c of each output."""
        index = V.bits("int8x16", tirx.Ramp(V.i32((c << 24) | 0xFFFFFF), V.i32(4 << 24), 4))
        top = V.bits("int32x4", V.intrinsic("int8x16", "llvm.aarch64.neon.tbl1.v16i8", codes, index))
        kind = "vcvtfxu2fp" if self._late else "vcvtfxs2fp"
        weight = V.intrinsic("float32x4", f"llvm.aarch64.neon.{kind}.v4f32.v4i32", top, V.i32(24))
        return weight - V.cast("float32", self.zero) if self._late else weight


def _zero() -> V.Reg:
    return V.Reg("float32", V.splat(0.0, 4), 4)


def _bytes(value: int) -> V.Expr:
    return V.splat(V.cast("uint8", V.i32(value)), 16)
