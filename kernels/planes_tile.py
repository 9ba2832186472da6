"""Emits 16 output rows times a few activation rows where weights are bit planes: `p2` and `c4`, inside `linear_int`.

Of a group: `B0.q` and `B1.q`, exact integers (B0, B1: low and high bits of the codes). `p2` is `s1 B0.q + s2 B1.q`. A
table of four is `t0 + d1 b0 + d2 b1 + d3 b0 b1` with `d1 = t1 - t0`, `d2 = t2 - t0`, `d3 = (t3 - t2) - d1` in float32,
so `c4` also takes `B0B1.q` and `sum(q)`, which is `-corr`. Each sum meets its factor in one fma, `sum(q)` first, then
bit 0, bit 1, both; groups in order. The order is the same for any number of activation rows.

A vector of 64 bytes costs as many dot products as there are sums, 2 or 3, where 4-bit codes cost one for twice the
bytes: GEMVs still wait for memory (2 bits a weight), GEMMs take two to three times as long as `w4`.
"""

from __future__ import annotations

from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group, walk
from edgeq.kernels.linear_int_operands import Operands
from edgeq.kernels.planes_dot import accumulate, masks
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, WeightFormat

FIELDS = 4  # codes in a byte
_NUMBER_BYTES = 2 * TILE_ROWS
_TOGETHER = 24  # accumulators of several planes at once on AVX-512: 32 registers less operands
_CHAINED = ("vnni512",)  # a GEMV needs a chain a field there: one would wait for its own latency


def takes(fmt: WeightFormat) -> bool:
    """Whether this format's integer linears are emitted here."""
    return fmt.kind in ("planes", "codebook")


def emit_tile(x: Operands, tile: V.Expr) -> list[V.Expr]:
    """float32x16 sums of the tile at byte offset `tile` (int64), one for each activation row."""
    sums = V.Stack(x.rows * TILE_ROWS, "float32")
    with V.loop(0, x.rows) as row:
        sums.store(row * V.i32(TILE_ROWS), V.splat(0.0))
    add = _add_looped if x.isa.accumulators == 1 else _add_unrolled
    walk(x.fmt, x.K, [tile], lambda groups: add(x, groups[0], sums))
    return [sums.vector(row * TILE_ROWS) for row in range(x.rows)]


def _planes(x: Operands) -> int:
    return 3 if x.fmt.kind == "codebook" else 2


def _factors(x: Operands, group: Group) -> tuple[V.Expr | None, list[V.Expr]]:
    """float32x16: what sum(q) is multiplied by (None: nothing), and what each plane's sum is."""
    numbers = []
    for i in range(x.fmt.meaning.numbers):
        at = group.scale + V.i64(i * _NUMBER_BYTES)
        numbers.append(V.let(V.from_half(x.isa, x.weights.view(at, "float16x16"))))
    if x.fmt.kind == "planes":
        return None, numbers
    t0, t1, t2, t3 = numbers
    d1, d2 = V.let(t1 - t0), V.let(t2 - t0)
    return t0, [d1, d2, V.let((t3 - t2) - d1)]


def _quad(x: Operands, group: Group, number: V.Expr, row: V.Expr | int) -> V.Expr:
    """int32: quad `number` of the group, of a row (of a chunk in panels of `isa.panel_quads`)."""
    row = V.i32(row) if isinstance(row, int) else row
    at = V.let((group.start >> V.i32(2)) + number)
    if x.rows > 1 and x.isa.panel_quads > 1:
        together = x.isa.panel_quads
        place = ((at // V.i32(together)) * V.i32(x.rows) + row) * V.i32(together) + at % V.i32(together)
        return x.quads[x.first_quad + place]
    return x.quads[x.first_quad + at * V.i32(x.rows) + row]


def _sum_of_codes(x: Operands, group: Group, row: V.Expr | int) -> V.Expr:
    """float32: sum(q) of a group and row."""
    row = V.i32(row) if isinstance(row, int) else row
    return V.cast("float32", V.i32(0) - x.corr[x.first_corr + group.number * V.i32(x.rows) + row])


def _add_unrolled(x: Operands, group: Group, sums: V.Stack) -> None:
    """Add a group to every row's sum, integer sums in registers: a few rows, and planes, at a time."""
    planes, wide = list(range(_planes(x))), min(x.rows, x.isa.accumulators)
    constant, factors = _factors(x, group)
    together = x.rows == 1 or (x.isa.accumulators > 4 and wide * len(planes) <= _TOGETHER)
    for first in range(0, x.rows, wide):
        rows = list(range(first, min(first + wide, x.rows)))
        if constant is not None:
            for row in rows:
                _multiply(sums, row, V.splat(_sum_of_codes(x, group, row)), constant)
        for some in [planes] if together else [[plane] for plane in planes]:
            found = _integers(x, group, rows, some)
            for plane in some:
                for i, row in enumerate(rows):
                    _multiply(sums, row, V.cast("float32", found[plane][i]), factors[plane])


def _multiply(sums: V.Stack, row: int, value: V.Expr, factor: V.Expr) -> None:
    at = V.i32(row * TILE_ROWS)
    sums.store(at, V.fma(value, factor, sums.vector(at)))


def _integers(x: Operands, group: Group, rows: list[int], planes: list[int]) -> dict[int, list[V.Expr]]:
    """Plane -> int32x16 sums of a group, one a row."""
    chains = FIELDS if x.rows == 1 and x.isa.dot in _CHAINED else 1
    totals = {p: [[V.Reg("int32", V.splat(0)) for _ in range(chains)] for _ in rows] for p in planes}
    vectors = x.fmt.vectors(group.length)
    with V.loop(0, vectors) as v:
        at = V.let(group.vectors + V.i64(v) * V.i64(VECTOR_BYTES))
        x.prefetch(at)
        stored = V.let(x.weights.view(at, "int32x16"))
        held = {p: masks(stored, p, range(FIELDS)) for p in planes}
        for i, row in enumerate(rows):
            quads = [V.let(_quad(x, group, v + V.i32(f * vectors), row)) for f in range(FIELDS)]
            for p in planes:
                for c, total in enumerate(totals[p][i]):
                    own = slice(c, None, chains) if chains > 1 else slice(None)
                    total.set(accumulate(x.isa, total.v, held[p][own], quads[own]))
    return {p: [_joined(line) for line in totals[p]] for p in planes}


def _joined(chains: list[V.Reg]) -> V.Expr:
    total = chains[0].v
    for chain in chains[1:]:
        total = total + chain.v
    return V.let(total)


def _add_looped(x: Operands, group: Group, sums: V.Stack) -> None:
    """The same in loops over vectors, fields, rows and lanes: little code where a vector operation is much."""
    constant, factors = _factors(x, group)
    held, integers = V.Stack(TILE_ROWS, "float32"), V.Stack(x.rows * TILE_ROWS, "int32")
    vectors = x.fmt.vectors(group.length)
    if constant is not None:
        held.store(V.i32(0), constant)
        with V.loop(0, x.rows) as row:
            total = V.let(_sum_of_codes(x, group, row))
            _fold(sums, row, lambda at: total, held)
    for plane, factor in enumerate(factors):
        with V.loop(0, x.rows) as row:
            integers.store(row * V.i32(TILE_ROWS), V.splat(0))
        with V.loop(0, vectors) as v, V.loop(0, FIELDS) as f:
            stored = V.let(x.weights.view(V.let(group.vectors + V.i64(v) * V.i64(VECTOR_BYTES)), "int32x16"))
            codes = masks(stored, plane, [f])
            with V.loop(0, x.rows) as row:
                quad = V.let(_quad(x, group, v + f * V.i32(vectors), row))
                at = row * V.i32(TILE_ROWS)
                integers.store(at, accumulate(x.isa, integers.vector(at), codes, [quad]))
        held.store(V.i32(0), factor)
        with V.loop(0, x.rows) as row:
            _fold(sums, row, lambda at: V.cast("float32", integers[at]), held)


def _fold(sums: V.Stack, row: V.Expr, value: object, factor: V.Stack) -> None:
    """sums[row] = fma(value, factor, sums[row]), lane by lane: fma is a call there."""
    with V.loop(0, TILE_ROWS) as lane:
        at = V.let(row * V.i32(TILE_ROWS) + lane)
        sums.store(at, V.fma(value(at), factor[lane], sums[at]))  # type: ignore[operator]
