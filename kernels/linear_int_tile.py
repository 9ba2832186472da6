"""Emits 16 output rows times a few activation rows of a quantized linear: the inner loops of `linear_int`.

The order of float operations is the same for any number of activation rows: group after group,
`sum = fma(float(integer sum of the group), scale, sum)`. So GEMV and GEMM agree bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.kernels import dot
from edgeq.kernels import vector as V
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES, GroupOffsets, WeightFormat
from edgeq.targets.isa import Isa

AHEAD = 4096  # bytes: weights are one stream, and hardware prefetchers alone reach 85-90 % of DRAM bandwidth
MAX_UNROLLED_DOTS = 128  # of one group; beyond, a loop over its vectors
CHAINS = 4  # integer accumulators of a GEMV with long groups: one chain of vpdpbusd would wait for its own latency


@dataclass(frozen=True)
class Operands:
    """The kernel's inputs. `rows` activation rows are interleaved by quads (`[K/4][rows][4]`)."""

    isa: Isa
    fmt: WeightFormat
    K: int
    rows: int
    weights: V.Memory  # uint8
    quads: V.Memory  # int32
    corr: V.Memory  # int32

    @property
    def step(self) -> int:
        """Weight vectors whose codes are in registers at a time."""
        wide = {"vnni512": 4, "avx2": 2, "generic": 1}[self.isa.dot]
        return wide * (2 if self.fmt.bits == 8 else 1)


@dataclass(frozen=True)
class Group:
    """One quantization group of one tile: where its bytes, quads and corrections are, and how long it is."""

    vectors: V.Expr  # byte offsets (int64)
    scale: V.Expr
    zero: V.Expr
    quad: V.Expr  # index of its first quad
    corr: V.Expr
    length: int


def emit_tile(x: Operands, tile: V.Expr, quad: V.Expr, corr: V.Expr) -> list[V.Reg]:
    """Sums of one tile: a float32x16 register an activation row.

    Args:
        x: operands.
        tile: byte offset (int64) of the tile.
        quad: index (int32) of the rows' first quad.
        corr: index (int32) of the rows' first correction.
    """
    sums = [V.Reg("float32", V.splat(0.0)) for _ in range(x.rows)]
    offsets, bounds = x.fmt.offsets(x.K), x.fmt.group_bounds(x.K)
    size, per_block = bounds[0][1], x.fmt.block_groups
    blocks = x.K // size // per_block
    if blocks > 1:
        with V.loop(0, blocks) as b:
            base = V.let(tile + V.i64(b) * V.i64(x.fmt.block_bytes(x.K)))
            first_quad = V.let(quad + b * V.i32(per_block * size // 4 * x.rows))
            first_corr = V.let(corr + b * V.i32(per_block * x.rows))
            for j in range(per_block):
                group = _place(x, offsets[j], base, first_quad, first_corr, j, size, size)
                _emit_group(x, group, sums)
    for g in range(blocks * per_block if blocks > 1 else 0, len(bounds)):
        length = bounds[g][1] - bounds[g][0]
        _emit_group(x, _place(x, offsets[g], tile, quad, corr, g, size, length), sums)
    return sums


def _place(
    x: Operands, at: GroupOffsets, base: V.Expr, quad: V.Expr, corr: V.Expr, index: int, size: int, length: int
) -> Group:
    """Group `index` after (base, quad, corr), all groups before it being `size` long."""
    return Group(
        vectors=base + V.i64(at.vectors),
        scale=base + V.i64(at.scale),
        zero=base + V.i64(at.zero),
        quad=quad + V.i32(index * size // 4 * x.rows),
        corr=corr + V.i32(index * x.rows),
        length=length,
    )


def _emit_group(x: Operands, group: Group, sums: list[V.Reg]) -> None:
    vectors = x.fmt.vectors(group.length)
    chains = CHAINS if x.rows == 1 and vectors > x.step else 1
    integers = [[_start(x, group, row, c) for c in range(chains)] for row in range(x.rows)]
    steps, rest = divmod(vectors, x.step)
    if steps * x.step * x.rows * (8 // x.fmt.bits) > MAX_UNROLLED_DOTS:
        with V.loop(0, steps // chains) as s:
            for c in range(chains):
                _emit_step(x, group, integers, s * V.i32(chains) + V.i32(c), c, x.step)
        done = steps // chains * chains
    else:
        done = 0
    for s in range(done, steps):
        _emit_step(x, group, integers, V.i32(s), s % chains, x.step)
    if rest:
        _emit_step(x, group, integers, V.i32(steps), 0, rest)
    scale = V.let(V.cast("float32", x.weights.view(group.scale, "float16x16")))
    for total, chain in zip(sums, integers, strict=True):
        integer = chain[0].v
        for other in chain[1:]:
            integer = integer + other.v
        total.set(V.fma(V.cast("float32", integer), scale, total.v))


def _start(x: Operands, group: Group, row: int, chain: int) -> V.Reg:
    """A row's accumulator. The first chain starts at what zero points contribute; stored ones differ row by row."""
    if chain:
        return V.Reg("int32", V.splat(0))
    correction = V.splat(x.corr[group.corr + V.i32(row)])
    if not x.fmt.symmetric:
        correction = V.cast("int32", x.weights.vector(group.zero)) * correction
    return V.Reg("int32", correction)


def _emit_step(x: Operands, group: Group, integers: list[list[V.Reg]], step: V.Expr, chain: int, count: int) -> None:
    """Add `count` weight vectors, the step-th `x.step` of the group, to every row's accumulator."""
    codes: list[V.Expr] = []
    quads: list[int] = []  # relative to the step's first quad, in quads
    for v in range(count):
        at = group.vectors + V.i64(step) * V.i64(x.step * VECTOR_BYTES) + V.i64(v * VECTOR_BYTES)
        if x.rows == 1:
            x.weights.prefetch(at + V.i64(AHEAD))
        codes += dot.unpack(x.fmt.bits, x.weights.view(at, "int32x16"))
        quads += [v, v + group.length // 8] if x.fmt.bits == 4 else [v]
    first = V.let(group.quad + step * V.i32(x.step * x.rows))
    for row in range(x.rows):
        values = [x.quads[first + V.i32(k * x.rows + row)] for k in quads]
        dot.accumulate(x.isa, x.fmt.bits, integers[row][chain], codes, values)


assert TILE_ROWS == V.LANES
