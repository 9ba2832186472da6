"""Emits 16 output rows times a block of activation rows of a 2:4 sparse linear on ARM; see `sparse_tile`.

A tile's outputs are taken in passes of a few columns of 4, as many as LLVM keeps in 32 registers of 4 lanes.
Instructions of the inner loop for each `tbl` (16 kept codes of 4 outputs, a row), counted:

| outputs of a pass | sdot: GEMM s8, s4g64 | smlal: GEMM s8, s4g64 | GEMV s8, s4g64: smlal | GEMV s4g64: sdot |
|---|---|---|---|---|
| 4 | 3.1, 4.2 | 9.3, 8.0 | 12.8, 10.7 | 8.6 |
| 8 | 3.4, 4.7 (spills) | 9.8, 8.3 (spills) | 11.3, 11.7 | 8.1 |
| 16 | | | 10.5, 12.4 (spills) | 9.0 |
"""

from __future__ import annotations

from functools import partial

from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group, walk
from edgeq.kernels.sparse_operands import Operands
from edgeq.quant.format import TILE_ROWS
from edgeq.targets.isa import Isa


def takes(isa: Isa) -> bool:
    """Whether this ISA's linears are emitted here."""
    return isa.dot in ("sdot", "smmla", "smlal")


def emit_block(x: Operands, tile: V.Expr) -> list[V.Expr]:
    """float32x16 sums of the tile at byte offset `tile` (int64), one for each activation row."""
    sums, outputs = V.Stack(x.rows * TILE_ROWS, "float32"), _outputs(x)
    kind = Widening if x.isa.dot == "smlal" else Dots
    for first in range(0, TILE_ROWS, outputs):
        columns = [kind(x, n) for n in range(first, first + outputs, 4)]
        walk(x.fmt, x.K, [tile], partial(_add, x, columns))
        for column in columns:
            column.store(sums)
    return [sums.vector(row * TILE_ROWS) for row in range(x.rows)]


def _outputs(x: Operands) -> int:
    """Outputs of a pass."""
    if x.rows > 1:
        return 4
    return TILE_ROWS if not x.fmt.group_size else 4 if x.isa.dot == "smlal" else 8


def _add(x: Operands, columns: list[Dots], groups: list[Group]) -> None:
    """Add a group to the columns' float sums."""
    (group,) = groups
    for column in columns:
        column.begin()

    def step(at: V.Expr, number: V.Expr, fields: int) -> None:
        for pair in range(fields // 2):
            here = V.let(number + V.i32(pair))
            weights = [column.load(at, range(2 * pair, 2 * pair + 2), fields) for column in columns]
            for row in range(x.rows):
                values = V.let(x.sixteen(here, row))
                for column, held in zip(columns, weights, strict=True):
                    column.add(row, values, held)

    x.steps(group, step)
    for column in columns:
        column.end(group)


class Dots:
    """Float sums of outputs `output` .. `output + 3` of a tile, and integer sums of the group that is being added."""

    def __init__(self, x: Operands, output: int):
        self.x, self.output = x, output
        self.sums = [V.Reg("float32", V.splat(0.0, 4), 4) for _ in range(x.rows)]
        self.integers: list[list[V.Reg]] = []

    def begin(self) -> None:
        """Integer sums of zero."""
        self.integers = [self._zeros() for _ in range(self.x.rows)]

    def _zeros(self) -> list[V.Reg]:
        return [V.Reg("int32", V.splat(0, 4), 4)]

    def load(self, at: V.Expr, pair: range, fields: int) -> list[tuple[V.Expr, V.Expr]]:
        """(places, codes) of two fields of the step at byte `at`."""
        x = self.x
        return [(x.indexes(at, f, self.output, 4), x.codes(at, f, fields, self.output, 4)) for f in pair]

    def add(self, row: int, values: V.Expr, held: list[tuple[V.Expr, V.Expr]]) -> None:
        """Add the products of two fields with 16 activations of a row."""
        (total,) = self.integers[row]
        for places, codes in held:
            picked = _pick(values, places)
            name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
            total.set(V.intrinsic("int32x4", name, total.v, V.bits("int8x16", codes), picked))

    def _total(self, row: int) -> V.Expr:
        return self.integers[row][0].v

    def end(self, group: Group) -> None:
        """Integer sums, scaled, into the float sums."""
        halves = self.x.weights.view(group.scale + V.i64(self.output // 8 * 16), "float16x8")
        scale = self.x.scale(V.part(halves, self.output % 8, 4))
        for row, total in enumerate(self.sums):
            total.set(V.fma(V.cast("float32", self._total(row)), scale, total.v))

    def store(self, sums: V.Stack) -> None:
        """Float sums, `[row][output]`."""
        for row, total in enumerate(self.sums):
            sums.store(row * TILE_ROWS + self.output, total.v)


class Widening(Dots):
    """Without a dot product: the products of both fields add up in int16, then pairs of them in int32."""

    def _zeros(self) -> list[V.Reg]:
        return [V.Reg("int32", V.splat(0, 4), 4) for _ in range(2)]

    def add(self, row: int, values: V.Expr, held: list[tuple[V.Expr, V.Expr]]) -> None:
        """Two fields."""
        picked = [(V.let(_pick(values, places)), V.bits("int8x16", codes)) for places, codes in held]
        for half, pairs in enumerate(self.integers[row]):
            words = [_product(V.part(codes, 8 * half, 8), V.part(some, 8 * half, 8)) for some, codes in picked]
            name = "llvm.aarch64.neon.saddlp.v4i32.v8i16"
            pairs.set(pairs.v + V.intrinsic("int32x4", name, words[0] + words[1]))

    def _total(self, row: int) -> V.Expr:
        low, high = self.integers[row]
        return V.intrinsic("int32x4", "llvm.aarch64.neon.addp.v4i32", low.v, high.v)


def _pick(values: V.Expr, places: V.Expr) -> V.Expr:
    """int8x16: the bytes of `values` that `places` name."""
    table, index = V.bits("int8x16", values), V.bits("int8x16", places)
    return V.intrinsic("int8x16", "llvm.aarch64.neon.tbl1.v16i8", table, index)


def _product(a: V.Expr, b: V.Expr) -> V.Expr:
    return V.intrinsic("int16x8", "llvm.aarch64.neon.smull.v8i16", a, b)
