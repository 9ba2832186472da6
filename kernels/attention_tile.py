"""Attention of a few query rows over the cache of one key/value head: the part that decode and prefill chunks share.

Three steps over scratch scores `f32[rows][context + 16]`: scores of `rows` queries by blocks of 16 positions as outer
products in registers (keys lie with positions in lanes, so a query channel is broadcast), a base-2 softmax of each row,
and the weighted sum of value rows. Every sum has one order whatever the tile: scores add channels 0, 1, ...; softmax
sums add blocks 0, 1, ... in 16 lanes, then `sum16`; outputs add positions in order. Positions outside a row's window
add exact zeros. So decode and a chunk agree bit for bit, for any number of threads and on every instruction set.

Of caches of codes (`attention_codes`) only the newest positions are read here, from a ring: blocks of 32 before
`WINDOW` are left to the codes, and rows of one tile are in one block. Sums over codes come first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from edgeq.errors import UnsupportedError
from edgeq.kernels.attention_codes import Codes, KeyCodes, ValueCodes
from edgeq.kernels.elementwise import soft_cap
from edgeq.kernels.kv_blocks import BLOCK, WINDOW, KvBlocks
from edgeq.kernels.kv_cache import KvCache
from edgeq.kernels.lanes import lane_numbers
from edgeq.kernels.scalars import BY_LANE, Scalars, steps
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
    from_half,
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
BIAS_MARGIN = 32  # over MAX_ROWS - 1 later rows, rounded up to a block
_LOWEST = -3e38  # below every score; not infinite, so that differences stay numbers


@dataclass(frozen=True)
class Shape:
    """One attention: query heads H over HK key/value heads, rows of qkv `ld` floats, window and softcap.

    `left`: positions seen back besides itself, -1 all. `softcap`: 0 = none. `bias`: scores get one by distance. Raises
    UnsupportedError.
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
    bias: bool = False
    ring: int = 0

    def __post_init__(self) -> None:
        if self.H % self.HK:
            raise UnsupportedError(f"attention: {self.H} query heads are no multiple of {self.HK} key/value heads")
        _ = self.cache

    @property
    def cache(self) -> KvCache:
        """The caches it reads."""
        return KvCache(self.HK, self.D, self.Dv, self.kv, self.context, self.ring)

    @property
    def group(self) -> int:
        """Query heads that share a key/value head."""
        return self.H // self.HK

    @property
    def span(self) -> int:
        """Floats of scratch a row; not a power of two, so that rows fall into different cache sets."""
        return self.context + LANES

    @property
    def bias_span(self) -> int:
        """Floats of a head's biases; entry `context - 1 - distance`, so that those of ascending positions ascend, and
        room for positions that a block holds after a row's own."""
        return self.context + BIAS_MARGIN

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
    bias: Memory | None
    scratch: Memory
    o: Memory


@dataclass(frozen=True)
class Rows:
    """`count` query rows: where they and their outputs lie, and which positions they see.

    Row r is at `q + r * q_stride` of qkv, its output at `o + r * o_stride`; its position is `position + r * step`, its
    biases at `bias + r * bias_stride`. No position after `last` is read.
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
    bias: Expr = 0
    bias_stride: int = 0


def max_rows(isa: Isa) -> int:
    """Most query rows of a tile."""
    return min(MAX_ROWS, isa.accumulators)


def attend(shape: Shape, isa: Isa, at: Buffers, rows: Rows) -> None:
    """Emit the attention of `rows`."""
    _Tile(shape, isa, at, rows).emit()


class _Tile:
    """The three steps over one group of rows, from block `blocks[0]` of 16 positions to before `blocks[1]`."""

    def __init__(self, shape: Shape, isa: Isa, at: Buffers, rows: Rows):
        self.shape, self.isa, self.at, self.rows = shape, isa, at, rows
        begin = shape.first(rows.position)
        end = let(minimum(rows.position + (rows.count - 1) * rows.step, rows.last) + 1)
        self.blocks, self.coded = (begin >> 4, let((end + 15) >> 4)), (i32(0), i32(0))
        if shape.cache.blocks:
            coded = let(maximum((rows.position >> 5) - (WINDOW - 1), begin >> 5))
            self.coded = let(begin >> 5), coded
            self.blocks = let((begin >> 5) * 2), self.blocks[1]
            begin = let(coded * BLOCK)
        self.blocks = let(self.blocks[0]), self.blocks[1]
        self.positions = begin, end
        self.width = max(1, isa.accumulators // rows.count)
        self.step = BY_LANE if isa.by_lane else 1
        self.kc, self.vc = (at.ks, at.vs) if shape.cache.blocks else (at.kc, at.vc)
        self.values = ValueCodes(self._codes(shape.cache.blocks)) if shape.cache.blocks else None

    def emit(self) -> None:
        """Scores, softmax, values."""
        if self.shape.cache.blocks:
            KeyCodes(self._codes(self.shape.cache.blocks), self._finish).emit(*self.coded)
        self._stretches(lambda begin, end, shift: self._scores(begin, end, shift, min(4, self.width)))
        inverse = self._softmax()
        if self.values:
            self.values.emit(*self.coded)
        self._values(min(self.shape.Dv // LANES, self.width), inverse)

    def _codes(self, blocks: KvBlocks) -> Codes:
        rows, at = self.rows, self.at
        place = (rows.head, rows.count, rows.q, rows.q_stride, self.shape.span)
        return Codes(blocks, self.isa, *place, at.qkv, at.kc, at.vc, at.scratch)

    def _stretches(self, emit: Callable[[Expr, Expr, Expr], None]) -> None:
        """`emit(begin, end, shift)` for float positions whose rows lie together: position p is row `p - shift`."""
        begin, end = self.positions
        if self.shape.cache.blocks is None or not self.shape.cache.blocks.wraps:
            emit(begin, end, i32(0))
            return
        ring = i32(self.shape.cache.blocks.ring)
        start = let(begin // ring * ring)
        cut = let(minimum(start + ring, end))
        with loop(0, 2) as s:
            first, last = let(select(s == 0, begin, cut)), let(select(s == 0, cut, end))
            emit(first, last, let(start + s * ring))

    def _scores(self, begin: Expr, end: Expr, shift: Expr, width: int) -> None:
        """Base-2 scores into scratch, `width` blocks at a time."""
        # a stretch begins with a block of positions, or is empty and begins anywhere
        begin = let((begin + 15) >> 4) if self.shape.cache.blocks else let(begin >> 4)
        end = let((end + 15) >> 4)
        whole = let((end - begin) // width)
        with loop(0, whole) as i:
            self._score_blocks(let(begin + i * width), shift, width)
        if width > 1:
            with loop(begin + whole * width, end) as b:
                self._score_blocks(b, shift, 1)

    def _score_blocks(self, block: Expr, shift: Expr, width: int) -> None:
        shape, rows = self.shape, self.rows
        acc = self._accumulators(width)
        keys = let(shape.cache.floats.key_at(rows.head, block * LANES - shift, 0))
        with loop(0, shape.D // self.step) as i:
            q = Scalars(self.at.qkv, [rows.q + r * rows.q_stride + i * self.step for r in range(rows.count)], self.step)
            for u in range(self.step):
                first = keys + (i * self.step + u) * LANES
                k = [let(self._load(self.kc, first + j * shape.D * LANES)) for j in range(width)]
                self._multiply(acc, q, u, k)
        for r, line in enumerate(acc):
            for j, a in enumerate(line):
                position = let((block + j) * LANES)
                self.at.scratch.store(r * shape.span + position, self._finish(a.v, position, r))

    def _finish(self, score: Expr, position: Expr, row: int) -> Expr:
        """A sum of products -> a base-2 score of the 16 positions from `position` on."""
        score = fence(score)
        if self.shape.cache.quantized:
            score = fence(score * self.at.ks.vector(self.shape.cache.scale_at(self.rows.head, position)))
        if self.shape.softcap:
            score = fence(soft_cap(score, self.shape.softcap * LOG2E))
        if self.at.bias is None:
            return score
        nearest = self.rows.bias + row * self.rows.bias_stride + (self.shape.context - 1)
        return fma(self.at.bias.vector(nearest - self._position(row) + position), splat(LOG2E), score)

    def _softmax(self) -> Stack:
        """Scores -> weights (times the value scales of an i8 cache); returns 1 / sum of each row."""
        self._hide()
        peaks, inverse = self._peaks(), Stack(self.rows.count, "float32")
        with loop(0, self.rows.count) as r:
            line, peak, total = let(r * self.shape.span), let(splat(peaks[r])), Reg("float32", splat(0.0))
            with loop(*self.blocks) as b:
                weight = exp2(self.at.scratch.vector(line + b * LANES) - peak, positive=False)
                total.set(total.v + weight)
                if self.shape.cache.quantized:
                    weight = weight * self.at.vs.vector(self.shape.cache.scale_at(self.rows.head, b * LANES))
                self.at.scratch.store(line + b * LANES, weight)
            inverse.store(r, f32(1.0) / sum16(total.v))
        return inverse

    def _hide(self) -> None:
        """Give positions outside each row's window the lowest score, of which exp2 makes an exact zero."""
        begin, end = self.blocks
        oldest, newest = self._position(0), self._position(self.rows.count - 1)
        self._hide_blocks(let((oldest + 1) >> 4), end, lambda position, row: position <= splat(row))
        if self.shape.left >= 0:
            within = let((self.shape.first(newest) >> 4) + 1)
            self._hide_blocks(begin, within, lambda position, row: position >= splat(self.shape.first(row)))

    def _hide_blocks(self, begin: Expr, end: Expr, seen: Callable[[Expr, Expr], Expr]) -> None:
        scratch = self.at.scratch
        with loop(begin, end) as b:
            position = let(splat(b * LANES) + lane_numbers())
            for r in range(self.rows.count):
                at = let(r * self.shape.span + b * LANES)
                scratch.store(at, select(seen(position, self._position(r)), scratch.vector(at), splat(_LOWEST)))

    def _peaks(self) -> Stack:
        """Largest score of each row."""
        peaks = Stack(self.rows.count, "float32")
        tops = [Reg("float32", splat(_LOWEST)) for _ in range(self.rows.count)]
        with loop(*self.blocks) as b:
            for r, top in enumerate(tops):
                top.set(maximum(self.at.scratch.vector(r * self.shape.span + b * LANES), top.v))
        for r, top in enumerate(tops):
            peaks.store(r, max16(top.v))
        return peaks

    def _position(self, row: int) -> Expr:
        """Last position that a row sees."""
        return let(minimum(self.rows.position + row * self.rows.step, self.rows.last))

    def _values(self, width: int, inverse: Stack) -> None:
        """Weighted sums of value rows, `width` vectors of channels at a time."""
        vectors = self.shape.Dv // LANES
        with loop(0, vectors // width) as g:
            self._value_vectors(let(g * width), width, inverse)
        if vectors % width:
            self._value_vectors(i32(vectors // width * width), vectors % width, inverse)

    def _value_vectors(self, first: Expr, width: int, inverse: Stack) -> None:
        shape, rows = self.shape, self.rows
        acc = self._accumulators(width)
        if self.values:
            for r, line in enumerate(acc):
                for j, a in enumerate(line):
                    a.set(self.values.sums(r, first + j))

        def add(t: Expr, step: int, rows_at: Expr) -> None:
            p = Scalars(self.at.scratch, [r * shape.span + t for r in range(rows.count)], step)
            for u in range(step):
                v = [let(self._load(self.vc, rows_at + (t + u) * shape.Dv + j * LANES)) for j in range(width)]
                self._multiply(acc, p, u, v)

        def stretch(begin: Expr, end: Expr, shift: Expr) -> None:
            rows_at = let(shape.cache.floats.value_at(rows.head, i32(0) - shift, first * LANES))
            steps(begin, end, self.step, partial(add, rows_at=rows_at))

        self._stretches(stretch)
        for r, line in enumerate(acc):
            for j, a in enumerate(line):
                self.at.o.store(rows.o + r * rows.o_stride + (first + j) * LANES, a.v * splat(inverse[r]))

    @staticmethod
    def _multiply(acc: list[list[Reg]], scalars: Scalars, u: int, vectors: list[Expr]) -> None:
        """Scalar u of each row times every vector."""
        for r, line in enumerate(acc):
            factor = scalars.splat(r, u)
            for a, vector in zip(line, vectors, strict=True):
                a.set(fma(factor, vector, a.v))

    def _accumulators(self, width: int) -> list[list[Reg]]:
        return [[Reg("float32", splat(0.0)) for _ in range(width)] for _ in range(self.rows.count)]

    def _load(self, cache: Memory, at: Expr) -> Expr:
        """16 elements of a cache as float32 (without the scales of an i8 cache)."""
        vector = cache.vector(at)
        return from_half(self.isa, vector) if self.shape.cache.floats.kv == "f16" else cast("float32", vector)
