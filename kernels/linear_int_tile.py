"""Emits 16 output rows times a few activation rows of a quantized linear: the inner loops of `linear_int`.

The order of float operations is the same for any number of activation rows: group after group,
`sum = fma(float(integer sum of the group), scale, sum)`. So GEMV and GEMM agree bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.kernels import dot
from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group, walk
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, WeightFormat
from edgeq.targets.isa import Isa

AHEAD = 4096  # bytes: weights are one stream, and hardware prefetchers alone reach 85-90 % of DRAM bandwidth
MAX_UNROLLED_DOTS = {"vnni512": 128, "avx2": 32}  # of one group; beyond, a loop over its vectors
CHAINS = 4  # integer accumulators of a GEMV with long groups: one chain of vpdpbusd would wait for its own latency


@dataclass(frozen=True)
class Operands:
    """The kernel's inputs. Activation rows are interleaved by quads (`[K/4][rows][4]`), corrections by groups."""

    isa: Isa
    fmt: WeightFormat
    K: int
    rows: int
    weights: V.Memory  # uint8
    quads: V.Memory  # int32
    corr: V.Memory  # int32
    first_quad: V.Expr  # index of the rows' first quad
    first_corr: V.Expr  # index of the rows' first correction

    @property
    def step(self) -> int:
        """Weight vectors whose codes are in registers at a time."""
        wide = {"vnni512": 4, "avx2": 1, "generic": 1}[self.isa.dot]
        return wide * (2 if self.fmt.bits == 8 else 1)

    def quad(self, group: Group) -> V.Expr:
        """Index of the group's first quad."""
        return self.first_quad + (group.start >> V.i32(2)) * V.i32(self.rows)

    @property
    def quads_at_once(self) -> int:
        """Quads given to one `dot.accumulate`: AVX2 adds several up in 16 bits."""
        return 8 if self.isa.dot == "avx2" else 1


def emit_tile(x: Operands, tile: V.Expr) -> Sums:
    """Sums of the tile at byte offset `tile` (int64) for every activation row."""
    sums = Looped(x) if x.isa.dot == "generic" else Unrolled(x)
    walk(x.fmt, x.K, tile, sums.add)
    return sums


class Unrolled:
    """Sums of a tile in registers, every row's code written out: one float and one integer accumulator a row."""

    def __init__(self, x: Operands):
        self.x = x
        self.sums = [V.Reg("float32", V.splat(0.0)) for _ in range(x.rows)]

    def row(self, i: int) -> V.Expr:
        """float32x16 sums of activation row i."""
        return self.sums[i].v

    def add(self, group: Group) -> None:
        """Add one group to every row's sum."""
        x, vectors = self.x, self.x.fmt.vectors(group.length)
        chains = CHAINS if x.rows == 1 and vectors > x.step else 1
        integers = [[self._start(group, row, c) for c in range(chains)] for row in range(x.rows)]
        steps, rest = divmod(vectors, x.step)
        looped = steps // chains if steps * x.step * x.rows * (8 // x.fmt.bits) > MAX_UNROLLED_DOTS[x.isa.dot] else 0
        if looped > 1:
            with V.loop(0, looped) as s:
                for c in range(chains):
                    self._step(group, integers, s * V.i32(chains) + V.i32(c), c, x.step)
        for s in range(looped * chains if looped > 1 else 0, steps):
            self._step(group, integers, V.i32(s), s % chains, x.step)
        if rest:
            self._step(group, integers, V.i32(steps), 0, rest)
        scale = V.let(V.from_half(x.isa, x.weights.view(group.scale, "float16x16")))
        for total, chain in zip(self.sums, integers, strict=True):
            integer = chain[0].v
            for other in chain[1:]:
                integer = integer + other.v
            total.set(V.fma(V.cast("float32", integer), scale, total.v))

    def _start(self, group: Group, row: int, chain: int) -> V.Reg:
        """A row's accumulator. The first chain starts at what the zero points contribute."""
        return V.Reg("int32", V.splat(0) if chain else _correction(self.x, group, V.i32(row)))

    def _step(self, group: Group, integers: list[list[V.Reg]], step: V.Expr, chain: int, count: int) -> None:
        """Add `count` weight vectors, the step-th `x.step` of the group, to every row's accumulator."""
        x = self.x
        codes, quads = _load(x, group, V.i64(step) * V.i64(x.step * VECTOR_BYTES), count)
        first = V.let(x.quad(group) + step * V.i32(x.step * x.rows))
        # Rows inside, quads outside: `rows` independent accumulators are in flight.
        for start in range(0, len(codes), x.quads_at_once):
            some = slice(start, start + x.quads_at_once)
            for row in range(x.rows):
                values = [x.quads[first + V.i32(k * x.rows + row)] for k in quads[some]]
                dot.accumulate(x.isa, x.fmt.bits, integers[row][chain], codes[some], values)


class Looped:
    """Sums of a tile on the stack, loops over vectors and rows: little code where a vector operation is a lot of it."""

    def __init__(self, x: Operands):
        self.x = x
        self.sums, self.integers = V.Stack(x.rows * TILE_ROWS, "float32"), V.Stack(x.rows * TILE_ROWS, "int32")
        self.scale = V.Stack(TILE_ROWS, "float32")
        with V.loop(0, x.rows) as row:
            self.sums.store(row * V.i32(TILE_ROWS), V.splat(0.0))

    def row(self, i: int | V.Expr) -> V.Expr:
        """float32x16 sums of activation row i."""
        return self.sums.vector(i * TILE_ROWS if isinstance(i, int) else i * V.i32(TILE_ROWS))

    def add(self, group: Group) -> None:
        """Add one group to every row's sum."""
        x = self.x
        with V.loop(0, x.rows) as row:
            self.integers.store(row * V.i32(TILE_ROWS), _correction(x, group, row))
        with V.loop(0, x.fmt.vectors(group.length)) as v:
            codes, quads = _load(x, group, V.i64(v) * V.i64(VECTOR_BYTES), 1)
            with V.loop(0, x.rows) as row:
                acc = V.Reg("int32", self.integers.vector(row * V.i32(TILE_ROWS)))
                values = [x.quads[x.quad(group) + (v + V.i32(k)) * V.i32(x.rows) + row] for k in quads]
                dot.accumulate(x.isa, x.fmt.bits, acc, codes, values)
                self.integers.store(row * V.i32(TILE_ROWS), acc.v)
        self.scale.store(V.i32(0), V.from_half(x.isa, x.weights.view(group.scale, "float16x16")))
        with V.loop(0, x.rows) as row, V.loop(0, TILE_ROWS) as lane:
            at = V.let(row * V.i32(TILE_ROWS) + lane)
            self.sums.store(at, V.fma(V.cast("float32", self.integers[at]), self.scale[lane], self.sums[at]))


Sums = Unrolled | Looped


def _correction(x: Operands, group: Group, row: V.Expr) -> V.Expr:
    """What the zero points contribute to 16 outputs: the fixed one is in `corr`, stored ones differ."""
    correction = V.splat(x.corr[x.first_corr + group.number * V.i32(x.rows) + row])
    if x.fmt.symmetric:
        return correction
    return V.cast("int32", x.weights.vector(group.zero)) * correction


def _load(x: Operands, group: Group, offset: V.Expr, count: int) -> tuple[list[V.Expr], list[int]]:
    """Codes of `count` vectors from byte `offset` of the group on, and which quad (from the first) each one meets."""
    codes: list[V.Expr] = []
    quads: list[int] = []
    for v in range(count):
        at = group.vectors + offset + V.i64(v * VECTOR_BYTES)
        if x.rows == 1:
            x.weights.prefetch(at + V.i64(AHEAD))
        codes += dot.unpack(x.fmt.bits, x.weights.view(at, "int32x16"))
        quads += [v, v + group.length // 8] if x.fmt.bits == 4 else [v]
    return codes, quads


assert TILE_ROWS == V.LANES
