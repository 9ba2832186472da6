"""Emits 16 output rows times a few rows of float activations on ARM, weights quantized: inner loops of `linear_float`.

A pass takes 16 outputs of one row, or 4 outputs of 4 rows, so that four partial sums each (`linear_float_tile` has
their order) fit in registers. A code becomes a float in two instructions: `tbl` puts byte k of each output's four into
the top of a lane, `scvtf #24` reads it as a fraction. Codes are centred before, 16 in one subtraction (levels of a
table are looked up centred); 8-bit ones with stored zero points leave the range of a byte and are centred as floats.
Floats of 8 bits take `tbl`, shift, mask and a product.

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
from edgeq.kernels.codes import byte_levels, codes
from edgeq.kernels.float_weights import FLOAT8, float8
from edgeq.kernels.linear_groups import Group, walk
from edgeq.kernels.linear_scales import offsets, scales
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES
from edgeq.quant.layout import Piece

if TYPE_CHECKING:
    from edgeq.kernels.linear_float_tile import Operands

ROWS = 4  # activation rows of a pass of several
_CHAINS = 4
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
    seen = [_zero() for _ in range(x.rows if x.fmt.has_offsets else 0)]
    for piece in x.fmt.pieces(group.length):
        with V.loop(0, piece.steps) as s:
            values = _Values(x, group, piece, s, seen)
            for column in columns:
                column.add(group, piece, s, values)
    sums = [joined(lanes.v) for lanes in seen]
    for column in columns:
        column.end(group, sums)


class _Values:
    """Activations of a step's quads, each loaded when it is first used."""

    def __init__(self, x: Operands, group: Group, piece: Piece, s: V.Expr, seen: list[V.Reg]):
        self.x, self.seen, self.held = x, seen, dict[int, list[V.Expr]]()
        self.places = [group.start + V.i32(4 * number) + s * V.i32(4) for number, _ in piece.quads]

    def __getitem__(self, i: int) -> list[V.Expr]:
        """float32x4 of each row at the i-th quad."""
        if i not in self.held:
            k = V.let(self.places[i])
            self.held[i] = [V.let(self.x.quad(row, k)) for row in range(self.x.rows)]
            for total, value in zip(self.seen, self.held[i], strict=False):
                total.set(total.v + value)
        return self.held[i]


class _Column:
    """Sums of outputs `output` .. `output + 3` of a tile."""

    def __init__(self, x: Operands, output: int):
        self.x, self.output = x, output
        self.totals = [_zero() for _ in range(x.rows)]

    def begin(self, group: Group) -> None:
        """Empty partial sums; the group's zero points."""
        self.chains = [[_zero() for _ in range(_CHAINS)] for _ in range(self.x.rows)]
        if self._stored_zeros:
            self.zero = V.let(V.cast("int32", self.x.weights.vector(group.zero + V.i64(self.output), 4)))

    def add(self, group: Group, piece: Piece, s: V.Expr, values: _Values) -> None:
        """Add step s of a piece."""
        places = [group.vectors + V.i64(s) * V.i64(VECTOR_BYTES) + V.i64(read * VECTOR_BYTES) for read in piece.reads]
        stored = [V.let(self.x.weights.view(at + V.i64(self.output * 4), "int32x4")) for at in places]
        for i, quad in enumerate(self._codes(piece, stored)):
            for c in range(_CHAINS):
                weight = V.let(self._weight(quad, c))
                for value, chains in zip(values[i], self.chains, strict=True):
                    chains[c].set(V.fma(weight, V.splat(V.part(value, c, 1), 4), chains[c].v))

    def end(self, group: Group, sums: list[V.Expr]) -> None:
        """Partial sums joined, scaled, into the totals; sums: each row's activations, of formats with offsets."""
        x = self.x
        scale = V.let(scales(x.isa, x.fmt, x.weights, group, self.output, 4))
        for total, (a, b, c, d) in zip(self.totals, self.chains, strict=True):
            total.set(V.fma(V.let((a.v + b.v) + (c.v + d.v)), scale, total.v))
        if sums:
            offset = V.let(V.splat(0.0, 4) - offsets(x.isa, x.weights, group, self.output, 4))
            for total, some in zip(self.totals, sums, strict=True):
                total.set(V.fma(V.splat(some, 4), offset, total.v))

    def store(self, sums: V.Stack) -> None:
        """Totals, `[row][output]`."""
        for row, total in enumerate(self.totals):
            sums.store(row * TILE_ROWS + self.output, total.v)

    @property
    def _stored_zeros(self) -> bool:
        return self.x.fmt.kind == "int" and not self.x.fmt.symmetric

    @property
    def _unsigned(self) -> bool:
        """Whether bytes go up to 255: codes are then centred as floats, if at all."""
        return self.x.fmt.bits == 8 and not self.x.fmt.symmetric

    def _codes(self, piece: Piece, stored: list[V.Expr]) -> list[V.Expr]:
        """int8x16 of every quad of a step: 4 levels of each output, unless `_unsigned` codes; bytes that are floats."""
        fmt, isa = self.x.fmt, self.x.isa
        if fmt.kind in FLOAT8 or self._unsigned:
            return [V.bits("int8x16", stored[0])]
        point, uniform = fmt.zero_point, byte_levels(fmt) in (tuple(range(fmt.codes)), (0, 2))
        less = 0 if point is None or (uniform and fmt.bits < 8) else point
        found = [V.bits("uint8x16", code) for code in codes(isa, fmt, piece, stored, less)]
        if less or fmt.has_offsets:
            return [V.bits("int8x16", code) for code in found]
        zero = _bytes(point) if point is not None else V.bits("uint8x16", self.zero * V.splat(_EVERY_BYTE, 4))
        return [V.bits("int8x16", code - zero) for code in found]

    def _weight(self, codes: V.Expr, c: int) -> V.Expr:
        """float32x4: byte c of each output."""
        index = V.bits("int8x16", tirx.Ramp(V.i32((c << 24) | 0xFFFFFF), V.i32(4 << 24), 4))
        top = V.bits("int32x4", V.intrinsic("int8x16", "llvm.aarch64.neon.tbl1.v16i8", codes, index))
        if self.x.fmt.kind in FLOAT8:
            return float8(self.x.fmt, top)
        kind = "vcvtfxu2fp" if self._unsigned else "vcvtfxs2fp"
        weight = V.intrinsic("float32x4", f"llvm.aarch64.neon.{kind}.v4f32.v4i32", top, V.i32(24))
        return weight - V.cast("float32", self.zero) if self._unsigned and self._stored_zeros else weight


def joined(lanes: V.Expr) -> V.Expr:
    """(0 + 1) + (2 + 3) of float32x4."""
    a, b, c, d = (V.part(lanes, i, 1) for i in range(_CHAINS))
    return V.let((a + b) + (c + d))


def _zero() -> V.Reg:
    return V.Reg("float32", V.splat(0.0, 4), 4)


def _bytes(value: int) -> V.Expr:
    return V.splat(V.cast("uint8", V.i32(value)), 16)
