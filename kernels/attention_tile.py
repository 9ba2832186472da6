"""Attention of a few query rows over the cache of one key/value head: the part that decode and prefill chunks share.

Three steps over scratch scores `f32[rows][context + 16]`: scores of `rows` queries by blocks of 16 positions as outer
products in registers (keys lie with positions in lanes, so a query channel is broadcast), a base-2 softmax of each row,
and the weighted sum of value rows. Every sum has one order whatever the tile: scores add channels 0, 1, ...; softmax
sums add blocks 0, 1, ... in 16 lanes, then `sum16`; outputs add positions in order. Positions outside a row's window
add exact zeros. So decode and a chunk agree bit for bit, for any number of threads and on every instruction set.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.errors import UnsupportedError
from edgeq.kernels.elementwise import soft_cap
from edgeq.kernels.kv_cache import KvCache
from edgeq.kernels.lanes import lane_numbers
from edgeq.kernels.transcendental import LOG2E, exp2
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Reg,
    Stack,
    cast,
    f32,
    fence,
    fma,
    i32,
    let,
    loop,
    max16,
    maximum,
    minimum,
    select,
    splat,
    sum16,
)
from edgeq.targets.isa import Isa

MAX_ROWS = 8
_LOWEST = -3e38  # below every score; not infinite, so that differences stay numbers
_BUDGET = {"vnni512": 16, "avx2": 4}  # 16-lane accumulators that fit beside the operands; elsewhere 1


@dataclass(frozen=True)
class Shape:
    """One attention: query heads H over HK key/value heads, rows of qkv `ld` floats, window and softcap.

    `left`: positions seen back besides itself, -1 all. `softcap`: 0 = none. Raises UnsupportedError.
    """

    H: int
    HK: int
    D: int
    Dv: int
    ld: int
    kv: str
    context: int
    left: int
    softcap: float

    def __post_init__(self) -> None:
        if self.H % self.HK:
            raise UnsupportedError(f"attention: {self.H} query heads are no multiple of {self.HK} key/value heads")
        _ = self.cache

    @property
    def cache(self) -> KvCache:
        """The caches it reads."""
        return KvCache(self.HK, self.D, self.Dv, self.kv, self.context)

    @property
    def group(self) -> int:
        """Query heads that share a key/value head."""
        return self.H // self.HK

    @property
    def span(self) -> int:
        """Floats of scratch a row; not a power of two, so that rows fall into different cache sets."""
        return self.context + LANES

    def first(self, position: Expr) -> Expr:
        """First position that a query at `position` sees."""
        return i32(0) if self.left < 0 else let(maximum(position - self.left, i32(0)))


@dataclass(frozen=True)
class Buffers:
    """The pointers of an attention kernel."""

    qkv: Memory
    kc: Memory
    vc: Memory
    ks: Memory
    vs: Memory
    scratch: Memory
    o: Memory


@dataclass(frozen=True)
class Rows:
    """`count` query rows: where they and their outputs lie, and which positions they see.

    Row r is at `q + r * q_stride` of qkv, its output at `o + r * o_stride`; its position is `position + r * step`.
    No position after `last` is read.
    """

    count: int
    q: Expr
    q_stride: int
    o: Expr
    o_stride: int
    head: Expr
    position: Expr
    step: int
    last: Expr


def max_rows(isa: Isa) -> int:
    """Most query rows of a tile."""
    return min(MAX_ROWS, _BUDGET.get(isa.dot, 1))


def attend(shape: Shape, isa: Isa, at: Buffers, rows: Rows) -> None:
    """Emit the attention of `rows`."""
    budget = _BUDGET.get(isa.dot, 1)
    begin = shape.first(rows.position)
    end = let(minimum(rows.position + (rows.count - 1) * rows.step, rows.last) + 1)
    blocks = let(begin >> 4), let((end + 15) >> 4)
    _scores(shape, at, rows, blocks, max(1, min(4, budget // rows.count)))
    inverse = _softmax(shape, at, rows, blocks)
    _values(shape, at, rows, (begin, end), max(1, budget // rows.count), inverse)


def _scores(shape: Shape, at: Buffers, rows: Rows, blocks: tuple[Expr, Expr], width: int) -> None:
    """Base-2 scores of blocks[0] .. blocks[1] into scratch, `width` blocks at a time."""
    begin, end = blocks
    whole = let((end - begin) // width)
    with loop(0, whole) as i:
        _score_blocks(shape, at, rows, let(begin + i * width), width)
    if width > 1:
        with loop(begin + whole * width, end) as b:
            _score_blocks(shape, at, rows, b, 1)


def _score_blocks(shape: Shape, at: Buffers, rows: Rows, block: Expr, width: int) -> None:
    acc = [[Reg("float32", splat(0.0)) for _ in range(width)] for _ in range(rows.count)]
    keys = let(shape.cache.key_at(rows.head, block * LANES, 0))
    with loop(0, shape.D) as d:
        k = [let(cast("float32", at.kc.vector(keys + (j * shape.D + d) * LANES))) for j in range(width)]
        for r, line in enumerate(acc):
            q = let(splat(at.qkv[rows.q + r * rows.q_stride + d]))
            for a, key in zip(line, k, strict=True):
                a.set(fma(q, key, a.v))
    for r, line in enumerate(acc):
        for j, a in enumerate(line):
            position = let((block + j) * LANES)
            score = fence(a.v)
            if shape.cache.quantized:
                score = fence(score * at.ks.vector(shape.cache.scale_at(rows.head, position)))
            if shape.softcap:
                score = soft_cap(score, shape.softcap * LOG2E)
            at.scratch.store(r * shape.span + position, score)


def _softmax(shape: Shape, at: Buffers, rows: Rows, blocks: tuple[Expr, Expr]) -> Stack:
    """Scores -> weights (times the value scales of an i8 cache); returns 1 / sum of each row."""
    inverse = Stack(rows.count, "float32")
    with loop(0, rows.count) as r:
        last, line = let(rows.position + r * rows.step), let(r * shape.span)
        first = shape.first(last)
        top = Reg("float32", splat(_LOWEST))
        with loop(*blocks) as b:
            seen = _seen(shape, b, first, last)
            top.set(maximum(select(seen, at.scratch.vector(line + b * LANES), splat(_LOWEST)), top.v))
        peak, total = let(max16(top.v)), Reg("float32", splat(0.0))
        with loop(*blocks) as b:
            weight = exp2(at.scratch.vector(line + b * LANES) - splat(peak))
            weight = let(select(_seen(shape, b, first, last), weight, splat(0.0)))
            total.set(total.v + weight)
            if shape.cache.quantized:
                weight = weight * at.vs.vector(shape.cache.scale_at(rows.head, b * LANES))
            at.scratch.store(line + b * LANES, weight)
        inverse.store(r, f32(1.0) / sum16(total.v))
    return inverse


def _seen(shape: Shape, block: Expr, first: Expr, last: Expr) -> Expr:
    """Lanes of a block whose positions lie in first .. last."""
    position = splat(block * LANES) + lane_numbers()
    return position <= splat(last) if shape.left < 0 else (position <= splat(last)) & (position >= splat(first))


def _values(
    shape: Shape, at: Buffers, rows: Rows, positions: tuple[Expr, Expr], width: int, inverse: Stack
) -> None:
    """Weighted sums of value rows, `width` vectors of channels at a time."""
    vectors = shape.Dv // LANES
    width = min(width, vectors)
    with loop(0, vectors // width) as g:
        _value_vectors(shape, at, rows, positions, let(g * width), width, inverse)
    if vectors % width:
        _value_vectors(shape, at, rows, positions, i32(vectors // width * width), vectors % width, inverse)


def _value_vectors(
    shape: Shape, at: Buffers, rows: Rows, positions: tuple[Expr, Expr], first: Expr, width: int, inverse: Stack
) -> None:
    acc = [[Reg("float32", splat(0.0)) for _ in range(width)] for _ in range(rows.count)]
    values = let(shape.cache.value_at(rows.head, 0, first * LANES))
    with loop(*positions) as t:
        v = [let(cast("float32", at.vc.vector(values + t * shape.Dv + j * LANES))) for j in range(width)]
        for r, line in enumerate(acc):
            p = let(splat(at.scratch[r * shape.span + t]))
            for a, value in zip(line, v, strict=True):
                a.set(fma(p, value, a.v))
    for r, line in enumerate(acc):
        for j, a in enumerate(line):
            at.o.store(rows.o + r * rows.o_stride + (first + j) * LANES, a.v * splat(inverse[r]))
