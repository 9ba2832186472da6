"""Sums of 4 outputs and a block of activation rows in ARM registers: what differs by dot product.

| `isa.dot` | a register of integer sums holds | an instruction does |
|---|---|---|
| `sdot` | 4 outputs of a row | 4 outputs x 4 k, the row's quad from a lane |
| `smmla` | 2 outputs x 2 rows | 2 x 2 x 8 k; two vectors of codes are paired (zip) before their nibbles are unpacked |
| `smlal` | 4 outputs of a row, as pairs of k; before that int16 products of 2 outputs x 4 k | 2 outputs x 4 k |
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from edgeq.kernels import dot
from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group
from edgeq.kernels.linear_int_activations import Activations
from edgeq.kernels.linear_int_operands import Operands
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES


class Column:
    """Float sums of outputs `output` .. `output + 3` of a tile, and integer sums of the group that is being added."""

    def __init__(self, x: Operands, output: int):
        self.x, self.output = x, output
        self.sums = [V.Reg("float32", V.splat(0.0, 4), 4) for _ in range(x.rows)]
        self.integers: list[V.Reg] = []

    def begin(self, group: Group) -> None:
        """Integer sums that hold what the zero points contribute."""
        self._begin(group, lambda i: [i] * 4, lambda i: [0, 1, 2, 3])

    def add(self, at: V.Expr, activations: Activations, vector: int) -> None:
        """Add the weight vector at byte `at` (of `smmla`, two)."""
        raise NotImplementedError

    def fold(self) -> None:
        """Called at the end of each stretch of straight-line code."""

    def end(self, group: Group) -> None:
        """Integer sums, scaled, into the float sums."""
        scale = self._scale(group)
        for total, integers in zip(self.sums, self.integers, strict=True):
            total.set(V.fma(V.cast("float32", integers.v), scale, total.v))

    def store(self, sums: V.Stack) -> None:
        """Float sums, `[row][output]`."""
        for row, total in enumerate(self.sums):
            sums.store(row * TILE_ROWS + self.output, total.v)

    def _stored(self, at: V.Expr) -> V.Expr:
        """int32x4: the bytes of the 4 outputs in the vector at byte `at`."""
        return V.let(self.x.weights.view(at + V.i64(self.output * 4), "int32x4"))

    def _codes(self, stored: V.Expr) -> list[V.Expr]:
        return dot.unpack(self.x.isa, self.x.fmt.bits, stored)

    def _scale(self, group: Group) -> V.Expr:
        return V.let(V.from_half(self.x.isa, self.x.weights.view(group.scale + V.i64(self.output * 2), "float16x4")))

    def _begin(self, group: Group, rows: Callable[[int], list[int]], outputs: Callable[[int], list[int]]) -> None:
        """Integer sums; `rows(i)`, `outputs(i)`: row and output of each lane of register i."""
        x, offset = self.x, dot.offset(self.x.isa, self.x.fmt.bits)
        at = x.first_corr + group.number * V.i32(x.rows)
        corr = V.let(x.corr.vector(at, x.rows) if x.rows > 1 else V.splat(x.corr[at], 4))
        points = None
        if x.fmt.zero_point is None:
            points = V.let(V.cast("int32", x.weights.vector(group.zero + V.i64(self.output), 4)) - V.splat(offset, 4))
        self.integers = []
        for i in range(x.rows):
            start = V.splat(0, 4) if offset and offset == x.fmt.zero_point else _shuffle([corr], rows(i))
            self.integers.append(V.Reg("int32", start if points is None else start * _shuffle([points], outputs(i)), 4))


class DotColumn(Column):
    """`sdot`: register i holds the 4 outputs of row i."""

    def add(self, at: V.Expr, activations: Activations, vector: int) -> None:
        """One vector."""
        for nibble, codes in enumerate(self._codes(self._stored(at))):
            for row, total in enumerate(self.integers):
                quad = V.bits("int8x16", V.splat(activations.quad(nibble, vector, row), 4))
                total.set(dot.neon("sdot", total.v, codes, quad))


class MatrixColumn(Column):
    """`smmla`: register 2 r + p holds rows 2 r, 2 r + 1 of outputs 2 p, 2 p + 1, output-major."""

    def begin(self, group: Group) -> None:
        """Corrections in that order."""
        self._begin(group, lambda i: [i // 2 * 2, i // 2 * 2 + 1] * 2, lambda i: _twice(i % 2))

    def add(self, at: V.Expr, activations: Activations, vector: int) -> None:
        """Two vectors, 8 k."""
        first, second = self._stored(at), self._stored(at + V.i64(VECTOR_BYTES))
        name = "smmla" if self.x.fmt.bits == 4 else "usmmla"
        for pair in range(2):
            paired = V.let(_shuffle([first, second], [2 * pair, 2 * pair + 4, 2 * pair + 1, 2 * pair + 5]))
            for nibble, codes in enumerate(self._codes(paired)):
                for row in range(0, self.x.rows, 2):
                    total = self.integers[row + pair]
                    values = V.bits("int8x16", activations.pairs(nibble, vector, row))
                    total.set(dot.neon(name, total.v, codes, values))

    def end(self, group: Group) -> None:
        """Scales are doubled to meet both rows."""
        scale = self._scale(group)
        scales = [V.let(_shuffle([scale], _twice(pair))) for pair in range(2)]
        for i, (total, integers) in enumerate(zip(self.sums, self.integers, strict=True)):
            total.set(V.fma(V.cast("float32", integers.v), scales[i % 2], total.v))

    def store(self, sums: V.Stack) -> None:
        """Unpaired."""
        for row in range(self.x.rows):
            pairs = [self.sums[row // 2 * 2 + p].v for p in range(2)]
            sums.store(row * TILE_ROWS + self.output, _shuffle(pairs, [row % 2 + 2 * k for k in range(4)]))


class WideningColumn(Column):
    """`smlal`: products of several quads add up in int16 before they are widened."""

    def begin(self, group: Group) -> None:
        """No products, no pairs of k."""
        super().begin(group)
        self.pending = 0
        self.products = [[V.Reg("int16", _zeros("int16", 8), 8) for _ in range(2)] for _ in self.integers]
        self.pairs = [[V.Reg("int32", V.splat(0, 4), 4) for _ in range(2)] for _ in self.integers]

    def add(self, at: V.Expr, activations: Activations, vector: int) -> None:
        """One vector."""
        for nibble, codes in enumerate(self._codes(self._stored(at))):
            if self.pending == dot.SMLAL_QUADS[self.x.fmt.bits]:
                self.fold()
            codes = V.bits("int8x16", codes)
            for row, products in enumerate(self.products):
                quad = V.let(V.bits("int8x16", V.splat(activations.quad(nibble, vector, row), 4)))
                for total, half in zip(products, (0, 8), strict=True):
                    total.set(total.v + _long_product(V.part(codes, half, 8), V.part(quad, half, 8)))
            self.pending += 1

    def fold(self) -> None:
        """Products into pairs."""
        for products, pairs in zip(self.products, self.pairs, strict=True):
            for words, sums in zip(products, pairs, strict=True):
                sums.set(sums.v + V.intrinsic("int32x4", "llvm.aarch64.neon.saddlp.v4i32.v8i16", words.v))
                words.set(_zeros("int16", 8))
        self.pending = 0

    def end(self, group: Group) -> None:
        """Pairs joined."""
        for integers, pairs in zip(self.integers, self.pairs, strict=True):
            joined = V.intrinsic("int32x4", "llvm.aarch64.neon.addp.v4i32", *(p.v for p in pairs))
            integers.set(integers.v + joined)
        super().end(group)


def _long_product(a: V.Expr, b: V.Expr) -> V.Expr:
    return V.intrinsic("int16x8", "llvm.aarch64.neon.smull.v8i16", a, b)


def _twice(pair: int) -> list[int]:
    return [2 * pair, 2 * pair, 2 * pair + 1, 2 * pair + 1]


def _shuffle(vectors: list[V.Expr], lanes: list[int]) -> V.Expr:
    return tirx.Shuffle(vectors, [V.i32(lane) for lane in lanes])


def _zeros(dtype: str, lanes: int) -> V.Expr:
    return V.splat(V.cast(dtype, V.i32(0)), lanes)


COLUMNS: dict[str, type[Column]] = {"sdot": DotColumn, "smmla": MatrixColumn, "smlal": WideningColumn}
