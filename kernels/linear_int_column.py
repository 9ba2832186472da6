"""Sums of 4 outputs and a block of activation rows in ARM registers: what differs by dot product.

| `isa.dot` | a register of integer sums holds | an instruction does |
|---|---|---|
| `sdot` | 4 outputs of a row | 4 outputs x 4 k, the row's quad from a lane |
| `smmla` | 2 outputs x 2 rows | 2 x 2 x 8 k: quads 2 i and 2 i + 1 of the group are paired (zip) |
| `smlal` | 4 outputs of a row, as pairs of k; before that int16 products of 2 outputs x 4 k | 2 outputs x 4 k |
"""

from __future__ import annotations

from tvm import tirx

from edgeq.kernels import dot_arm
from edgeq.kernels import vector as V
from edgeq.kernels.codes import codes
from edgeq.kernels.linear_groups import Group
from edgeq.kernels.linear_int_activations import Activations
from edgeq.kernels.linear_int_operands import Operands
from edgeq.kernels.linear_scales import offsets, scales
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES
from edgeq.quant.layout import Piece


class Column:
    """Float sums of outputs `output` .. `output + 3` of a tile, and integer sums of the groups that are being added."""

    def __init__(self, x: Operands, output: int):
        self.x, self.output = x, output
        self.sums = [V.Reg("float32", V.splat(0.0, 4), 4) for _ in range(x.rows)]
        self.integers: list[list[V.Reg]] = []  # [group][register]

    def begin(self, groups: list[Group]) -> None:
        """Integer sums that hold what the zero points contribute."""
        self.integers = [self._starts(group) for group in groups]

    def together(self, piece: Piece) -> int:
        """Steps of a piece that one `add` takes."""
        return 1

    def add(self, g: int, base: V.Expr, activations: Activations, piece: Piece, s: int) -> None:
        """Add step s (`together` of them) of a piece of the g-th group, whose vector 0 is at byte `base`."""
        numbers = [quad.number + s for quad in piece.quads]
        self._meet(g, activations, numbers, self._codes(piece, self._reads(base, piece, s)))

    def fold(self) -> None:
        """Called around each loop and at the end of a group."""

    def end(self, groups: list[Group]) -> None:
        """Integer sums, scaled, into the float sums; then sums of activations times offsets."""
        for group, integers in zip(groups, self.integers, strict=True):
            scale = self._spread(V.let(scales(self.x.isa, self.x.fmt, self.x.weights, group, self.output, 4)))
            for i, (total, integer) in enumerate(zip(self.sums, integers, strict=True)):
                total.set(V.fma(V.cast("float32", integer.v), scale[i % len(scale)], total.v))
            if self.x.fmt.kind == "min":
                self._add_offsets(group)

    def _add_offsets(self, group: Group) -> None:
        offset = self._spread(V.let(offsets(self.x.isa, self.x.weights, group, self.output, 4)))
        corr = V.let(V.cast("float32", self._corr(group)))
        for i, total in enumerate(self.sums):
            total.set(V.fma(_shuffle([corr], self.lanes(i)[0]), offset[i % len(offset)], total.v))

    def _corr(self, group: Group) -> V.Expr:
        """int32 `corr` of the rows (of one row in 4 lanes)."""
        x = self.x
        at = x.first_corr + group.number * V.i32(x.rows)
        return V.let(x.corr.vector(at, x.rows) if x.rows > 1 else V.splat(x.corr[at], 4))

    def store(self, sums: V.Stack) -> None:
        """Float sums, `[row][output]`."""
        for row, total in enumerate(self.sums):
            sums.store(row * TILE_ROWS + self.output, total.v)

    def lanes(self, register: int) -> tuple[list[int], list[int]]:
        """Row and output of each lane of a register of integer sums."""
        return [register] * 4, [0, 1, 2, 3]

    def _reads(self, base: V.Expr, piece: Piece, s: int) -> list[V.Expr]:
        """int32x4: the bytes of the 4 outputs in every vector that step s reads."""
        places = [base + V.i64((read + s) * VECTOR_BYTES + self.output * 4) for read in piece.reads]
        return [V.let(self.x.weights.view(at, "int32x4")) for at in places]

    def _codes(self, piece: Piece, stored: list[V.Expr]) -> list[V.Expr]:
        return codes(self.x.isa, self.x.fmt, piece, stored, dot_arm.offset(self.x.isa, self.x.fmt))

    def _meet(self, g: int, activations: Activations, numbers: list[int], found: list[V.Expr]) -> None:
        """Add products of code vectors with the quads of these numbers."""
        raise NotImplementedError

    def _spread(self, outputs: V.Expr) -> list[V.Expr]:
        """A number an output (float32x4) as it meets registers 0, 1, ..., in turn."""
        return [outputs]

    def _starts(self, group: Group) -> list[V.Reg]:
        x, offset = self.x, dot_arm.offset(self.x.isa, self.x.fmt)
        if x.fmt.kind == "min" and not offset:
            return [V.Reg("int32", V.splat(0, 4), 4) for _ in range(x.rows)]
        corr, points = self._corr(group), None
        if x.fmt.kind == "min":
            points = V.splat(-offset, 4)
        elif x.fmt.zero_point is None:
            points = V.let(V.cast("int32", x.weights.vector(group.zero + V.i64(self.output), 4)) - V.splat(offset, 4))
        starts = []
        for i in range(x.rows):
            rows, outputs = self.lanes(i)
            start = V.splat(0, 4) if offset and offset == x.fmt.zero_point else _shuffle([corr], rows)
            starts.append(V.Reg("int32", start if points is None else start * _shuffle([points], outputs), 4))
        return starts


class DotColumn(Column):
    """`sdot`, of unsigned bytes `usdot`: register i holds the 4 outputs of row i."""

    def _meet(self, g: int, activations: Activations, numbers: list[int], found: list[V.Expr]) -> None:
        name = "usdot" if dot_arm.unsigned(self.x.isa, self.x.fmt) else "sdot"
        for number, code in zip(numbers, found, strict=True):
            for row, total in enumerate(self.integers[g]):
                quad = V.bits("int8x16", V.splat(activations.quad(number, row), 4))
                total.set(dot_arm.accumulate(name, total.v, code, quad))


class MatrixColumn(Column):
    """`smmla`: register 2 r + p holds rows 2 r, 2 r + 1 of outputs 2 p, 2 p + 1, output-major.

    Where neighbouring vectors hold the two quads of every pair, they are zipped before they are unpacked; else code
    vectors wait for their partner, and at the end of a stretch meet zeros.
    """

    def __init__(self, x: Operands, output: int):
        super().__init__(x, output)
        self.waiting: dict[tuple[int, int], tuple[Activations, V.Expr]] = {}  # by group and quad

    def lanes(self, register: int) -> tuple[list[int], list[int]]:
        """A pair of rows, twice; each output of a pair twice."""
        row = register // 2 * 2
        return [row, row + 1] * 2, _twice(register % 2)

    def together(self, piece: Piece) -> int:
        """Two where quads lie in pairs."""
        return 1 if piece.steps % 2 or any(quad.number % 2 for quad in piece.quads) else 2

    def add(self, g: int, base: V.Expr, activations: Activations, piece: Piece, s: int) -> None:
        """One step, or two whose vectors are zipped."""
        if self.together(piece) == 1:
            return super().add(g, base, activations, piece, s)
        both = list(zip(self._reads(base, piece, s), self._reads(base, piece, s + 1), strict=True))
        for pair in range(2):
            found = self._codes(piece, [V.let(_zip(*reads, pair)) for reads in both])
            for quad, code in zip(piece.quads, found, strict=True):
                self._multiply(g, activations, quad.number + s, pair, code)

    def _meet(self, g: int, activations: Activations, numbers: list[int], found: list[V.Expr]) -> None:
        for number, code in zip(numbers, found, strict=True):
            _, other = self.waiting.pop((g, number ^ 1), (None, None))
            if other is None:
                self.waiting[g, number] = activations, code
            else:
                self._pair(g, activations, number & ~1, *((other, code) if number % 2 else (code, other)))

    def fold(self) -> None:
        """Code vectors left alone are paired with zeros."""
        for (g, number), (activations, code) in self.waiting.items():
            nothing = V.splat(0, 4)
            self._pair(g, activations, number & ~1, *((nothing, code) if number % 2 else (code, nothing)))
        self.waiting = {}

    def _pair(self, g: int, activations: Activations, number: int, first: V.Expr, second: V.Expr) -> None:
        for pair in range(2):
            self._multiply(g, activations, number, pair, V.let(_zip(first, second, pair)))

    def _multiply(self, g: int, activations: Activations, number: int, pair: int, code: V.Expr) -> None:
        """Add codes of quads `number` and `number + 1` of a pair of outputs, all rows."""
        name = "usmmla" if dot_arm.unsigned(self.x.isa, self.x.fmt) else "smmla"
        for row in range(0, self.x.rows, 2):
            total = self.integers[g][row + pair]
            values = V.bits("int8x16", activations.pairs(number, row))
            total.set(dot_arm.accumulate(name, total.v, code, values))

    def store(self, sums: V.Stack) -> None:
        """Unpaired."""
        for row in range(self.x.rows):
            pairs = [self.sums[row // 2 * 2 + p].v for p in range(2)]
            sums.store(row * TILE_ROWS + self.output, _shuffle(pairs, [row % 2 + 2 * k for k in range(4)]))

    def _spread(self, outputs: V.Expr) -> list[V.Expr]:
        return [V.let(_shuffle([outputs], _twice(pair))) for pair in range(2)]


class WideningColumn(Column):
    """`smlal`: products of several quads add up in int16 before they are widened."""

    def begin(self, groups: list[Group]) -> None:
        """No products, no pairs of k."""
        super().begin(groups)
        self.pending = [0 for _ in groups]
        self.products = [_pairs("int16", 8, self.x.rows) for _ in groups]
        self.pairs = [_pairs("int32", 4, self.x.rows) for _ in groups]

    def _meet(self, g: int, activations: Activations, numbers: list[int], found: list[V.Expr]) -> None:
        room = dot_arm.smlal_quads(self.x.isa, self.x.fmt)
        for number, code in zip(numbers, found, strict=True):
            if self.pending[g] == room:
                self._fold(g)
            code = V.bits("int8x16", code)
            for row, products in enumerate(self.products[g]):
                quad = V.let(V.bits("int8x16", V.splat(activations.quad(number, row), 4)))
                for total, half in zip(products, (0, 8), strict=True):
                    total.set(total.v + dot_arm.long_product(V.part(code, half, 8), V.part(quad, half, 8)))
            self.pending[g] += 1

    def fold(self) -> None:
        """Products into pairs."""
        for g, pending in enumerate(self.pending):
            if pending:
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


def _zip(first: V.Expr, second: V.Expr, pair: int) -> V.Expr:
    """int32x4: of outputs 2 pair and 2 pair + 1, the first's codes and the second's."""
    return _shuffle([first, second], [2 * pair, 2 * pair + 4, 2 * pair + 1, 2 * pair + 5])


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
