"""Sums of 4 outputs and a block of activation rows in ARM registers: what differs by dot product.

| `isa.dot` | a register of integer sums holds | an instruction does |
|---|---|---|
| `sdot` | 4 outputs of a row | 4 outputs x 4 k, the row's quad from a lane |
| `smmla` | 2 outputs x 2 rows | 2 x 2 x 8 k; two vectors of codes are paired (zip) before their nibbles are unpacked |
| `smlal` | 4 outputs of a row, as pairs of k; before that int16 products of 2 outputs x 4 k | 2 outputs x 4 k |
"""

from __future__ import annotations

from tvm import tirx

from edgeq.kernels import dot_arm
from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group
from edgeq.kernels.linear_int_activations import Activations
from edgeq.kernels.linear_int_operands import Operands
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES


class Column:
    """Float sums of outputs `output` .. `output + 3` of a tile, and integer sums of the groups that are being added."""

    def __init__(self, x: Operands, output: int):
        self.x, self.output = x, output
        self.sums = [V.Reg("float32", V.splat(0.0, 4), 4) for _ in range(x.rows)]
        self.integers: list[list[V.Reg]] = []  # [group][register]

    def begin(self, groups: list[Group]) -> None:
        """Integer sums that hold what the zero points contribute."""
        self.integers = [self._starts(group) for group in groups]

    def add(self, g: int, at: V.Expr, activations: Activations, vector: int) -> None:
        """Add the weight vector at byte `at` (of `smmla`, two) to the sums of the g-th group."""
        raise NotImplementedError

    def fold(self) -> None:
        """Called at the end of each stretch of straight-line code."""

    def end(self, groups: list[Group]) -> None:
        """Integer sums, scaled, into the float sums."""
        for group, integers in zip(groups, self.integers, strict=True):
            scales = self._scales(group)
            for i, (total, integer) in enumerate(zip(self.sums, integers, strict=True)):
                total.set(V.fma(V.cast("float32", integer.v), scales[i % len(scales)], total.v))

    def store(self, sums: V.Stack) -> None:
        """Float sums, `[row][output]`."""
        for row, total in enumerate(self.sums):
            sums.store(row * TILE_ROWS + self.output, total.v)

    def lanes(self, register: int) -> tuple[list[int], list[int]]:
        """Row and output of each lane of a register of integer sums."""
        return [register] * 4, [0, 1, 2, 3]

    def _stored(self, at: V.Expr) -> V.Expr:
        """int32x4: the bytes of the 4 outputs in the vector at byte `at`."""
        return V.let(self.x.weights.view(at + V.i64(self.output * 4), "int32x4"))

    def _codes(self, stored: V.Expr) -> list[V.Expr]:
        return dot_arm.codes(self.x.isa, self.x.fmt.bits, stored)

    def _scales(self, group: Group) -> list[V.Expr]:
        """Scales of the registers, those of registers 0, 1, ... in turn."""
        first, half = self.output // 8 * 8, self.output % 8  # neighbours share a load
        scales = self.x.weights.view(group.scale + V.i64(first * 2), "float16x8")
        return [V.let(V.from_half(self.x.isa, V.part(scales, half, 4)))]

    def _starts(self, group: Group) -> list[V.Reg]:
        x, offset = self.x, dot_arm.offset(self.x.isa, self.x.fmt.bits)
        at = x.first_corr + group.number * V.i32(x.rows)
        corr = V.let(x.corr.vector(at, x.rows) if x.rows > 1 else V.splat(x.corr[at], 4))
        points = None
        if x.fmt.zero_point is None:
            points = V.let(V.cast("int32", x.weights.vector(group.zero + V.i64(self.output), 4)) - V.splat(offset, 4))
        starts = []
        for i in range(x.rows):
            rows, outputs = self.lanes(i)
            start = V.splat(0, 4) if offset and offset == x.fmt.zero_point else _shuffle([corr], rows)
            starts.append(V.Reg("int32", start if points is None else start * _shuffle([points], outputs), 4))
        return starts


class DotColumn(Column):
    """`sdot`, at 8 bits `usdot` where there is one: register i holds the 4 outputs of row i."""

    def add(self, g: int, at: V.Expr, activations: Activations, vector: int) -> None:
        """One vector."""
        name = "usdot" if self.x.fmt.bits == 8 and not dot_arm.offset(self.x.isa, 8) else "sdot"
        for nibble, codes in enumerate(self._codes(self._stored(at))):
            for row, total in enumerate(self.integers[g]):
                quad = V.bits("int8x16", V.splat(activations.quad(nibble, vector, row), 4))
                total.set(dot_arm.accumulate(name, total.v, codes, quad))


class MatrixColumn(Column):
    """`smmla`: register 2 r + p holds rows 2 r, 2 r + 1 of outputs 2 p, 2 p + 1, output-major."""

    def lanes(self, register: int) -> tuple[list[int], list[int]]:
        """A pair of rows, twice; each output of a pair twice."""
        row = register // 2 * 2
        return [row, row + 1] * 2, _twice(register % 2)

    def add(self, g: int, at: V.Expr, activations: Activations, vector: int) -> None:
        """Two vectors, 8 k."""
        first, second = self._stored(at), self._stored(at + V.i64(VECTOR_BYTES))
        name = "smmla" if self.x.fmt.bits == 4 else "usmmla"
        for pair in range(2):
            paired = V.let(_shuffle([first, second], [2 * pair, 2 * pair + 4, 2 * pair + 1, 2 * pair + 5]))
            for nibble, codes in enumerate(self._codes(paired)):
                for row in range(0, self.x.rows, 2):
                    total = self.integers[g][row + pair]
                    values = V.bits("int8x16", activations.pairs(nibble, vector, row))
                    total.set(dot_arm.accumulate(name, total.v, codes, values))

    def store(self, sums: V.Stack) -> None:
        """Unpaired."""
        for row in range(self.x.rows):
            pairs = [self.sums[row // 2 * 2 + p].v for p in range(2)]
            sums.store(row * TILE_ROWS + self.output, _shuffle(pairs, [row % 2 + 2 * k for k in range(4)]))

    def _scales(self, group: Group) -> list[V.Expr]:
        (scale,) = super()._scales(group)
        return [V.let(_shuffle([scale], _twice(pair))) for pair in range(2)]


class WideningColumn(Column):
    """`smlal`: products of several quads add up in int16 before they are widened."""

    def begin(self, groups: list[Group]) -> None:
        """No products, no pairs of k."""
        super().begin(groups)
        self.pending = [0 for _ in groups]
        self.products = [_pairs("int16", 8, self.x.rows) for _ in groups]
        self.pairs = [_pairs("int32", 4, self.x.rows) for _ in groups]

    def add(self, g: int, at: V.Expr, activations: Activations, vector: int) -> None:
        """One vector."""
        for nibble, codes in enumerate(self._codes(self._stored(at))):
            if self.pending[g] == dot_arm.SMLAL_QUADS[self.x.fmt.bits]:
                self._fold(g)
            codes = V.bits("int8x16", codes)
            for row, products in enumerate(self.products[g]):
                quad = V.let(V.bits("int8x16", V.splat(activations.quad(nibble, vector, row), 4)))
                for total, half in zip(products, (0, 8), strict=True):
                    total.set(total.v + dot_arm.long_product(V.part(codes, half, 8), V.part(quad, half, 8)))
            self.pending[g] += 1

    def fold(self) -> None:
        """Products into pairs."""
        for g in range(len(self.pending)):
            self._fold(g)

    def _fold(self, g: int) -> None:
        for products, pairs in zip(self.products[g], self.pairs[g], strict=True):
            for words, sums in zip(products, pairs, strict=True):
                sums.set(sums.v + dot_arm.add_pairs(words.v))
                words.set(_zeros("int16", 8))
        self.pending[g] = 0

    def end(self, groups: list[Group]) -> None:
        """Pairs joined."""
        for integers, pairs in zip(self.integers, self.pairs, strict=True):
            for integer, pair in zip(integers, pairs, strict=True):
                joined = dot_arm.join_pairs(*(p.v for p in pair))
                integer.set(integer.v + joined)
        super().end(groups)


def _pairs(dtype: str, lanes: int, rows: int) -> list[list[V.Reg]]:
    return [[V.Reg(dtype, _zeros(dtype, lanes), lanes) for _ in range(2)] for _ in range(rows)]


def _twice(pair: int) -> list[int]:
    return [2 * pair, 2 * pair, 2 * pair + 1, 2 * pair + 1]


def _shuffle(vectors: list[V.Expr], lanes: list[int]) -> V.Expr:
    return tirx.Shuffle(vectors, [V.i32(lane) for lane in lanes])


def _zeros(dtype: str, lanes: int) -> V.Expr:
    return V.splat(V.cast(dtype, V.i32(0)), lanes)


# by dot product, and whether there are several rows
COLUMNS: dict[tuple[str, bool], type[Column]] = {
    ("sdot", False): DotColumn,
    ("sdot", True): DotColumn,
    ("smmla", False): DotColumn,
    ("smmla", True): MatrixColumn,
    ("smlal", False): WideningColumn,
    ("smlal", True): WideningColumn,
}
