"""Attention on codes: the part of a tile's keys and values that lies in quantized blocks, without dequantizing them.

HACK's products with both sides as codes plus rank-one terms, which give what dequantizing would, exactly; rounded are
only the 8-bit codes of queries and weights. With `k = code * scale + min` a channel (over the block's 32 positions):

    q . k = step * sum(q' * code) + sum(q * min),    q' = round(q * scale / step), step = max |q * scale| / 127

so the scales are folded into the query before it is quantized, block by block. With `v = code * scale + min` a position
(over a group's channels) and M the middle code:

    sum(p * v) = step * sum(p' * code) + sum(p * min) + M * sum(p * scale - step * p')

with p' = round(p * scale / step), step = max(p * scale) / 255. The last sum is what rounding left over, counted at the
middle code: a weight too small for a code of its own still adds the middle of its position's values, not their minimum.

Sums go block by block in order; integer sums are exact; those of `min` add in 16 lanes, then `sum16`.

Versions, one row over 4096 positions, shape of Llama-3.2-1B, CPU time of one thread on a busy Zen 5 (`kernels_kv.py`:
fp16 takes 470 to 520 us from DRAM, 8 us at 1024 positions in L2):

| version | int4, DRAM | int4, L2 |
|---|---|---|
| block by block | 316 us, 1.46x fp16 | 1.10x |
| queries and weights of several blocks rounded together, their reductions in one | 330 us, 1.55x | 1.23x |
| prefetch of as many blocks ahead | 205 us, 2.44x | 1.23x |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeq.kernels import kv_dot
from edgeq.kernels.kv_blocks import BLOCK, TINY, KvBlocks
from edgeq.kernels.reduce import reduce_many
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Reg,
    Stack,
    absolute,
    bits,
    cast,
    fence,
    fma,
    from_half,
    i32,
    let,
    loop,
    maximum,
    splat,
    sum16,
)
from edgeq.targets.isa import Isa

_QUERY_TOP, _WEIGHT_TOP = 127, 255
_QUADS = BLOCK // 4
_FOLDED = 4096  # floats of queries times scales that are held at once
_ROUND, _ROUND_BITS = 12582912.0, 0x4B400000  # 1.5 * 2**23 and its bits


Finish = Callable[[Expr, Expr, int], Expr]  # sums of products, position of the first of 16, row -> base-2 scores


@dataclass(frozen=True)
class Codes:
    """Where a tile's codes and rows lie: `rows` queries at `q + r * q_stride` of qkv, scores `span` floats a row."""

    blocks: KvBlocks
    isa: Isa
    head: Expr
    rows: int
    q: Expr
    q_stride: int
    span: int
    qkv: Memory
    keys: Memory
    values: Memory
    scratch: Memory

    def half(self, memory: Memory, at: Expr) -> Expr:
        """16 float16 as float32."""
        return let(from_half(self.isa, memory.as_type("float16").vector(at)))

    @property
    def lines(self) -> int:
        """Rows of some blocks whose largest numbers are looked for at once: as many as shuffles are cheap for."""
        return LANES if self.isa.accumulators >= LANES else 1

    def ahead(self, memory: Memory, at: Expr, words: int) -> None:
        """Ask for the int32 at `at` of a block `words` later: the CPU does not see by itself which lines come next."""
        if self.isa.prefetch:
            memory.prefetch(at + words)

    def batches(self, registers: int) -> list[range]:
        """Rows taken at once when each needs `registers` accumulators."""
        size = max(1, self.isa.accumulators // registers)
        return [range(i, min(i + size, self.rows)) for i in range(0, self.rows, size)]


class KeyCodes:
    """Scores over blocks of key codes, several blocks at a time as long as there are."""

    def __init__(self, codes: Codes, finish: Finish):
        self.codes, self.finish, dim = codes, finish, codes.blocks.key_dim
        self.batch = max(1, min(codes.lines // codes.rows, _FOLDED // (codes.rows * dim)))
        lines = self.batch * codes.rows
        self.folded, self.query = Stack(lines * dim, "float32"), Stack(lines * dim, "int8")
        self.tops, self.lows = Stack(lines * LANES, "float32"), Stack(lines * LANES, "float32")
        self.steps, self.inverses, self.low = (Stack(LANES, "float32") for _ in range(3))

    def emit(self, begin: Expr, end: Expr) -> None:
        """Scores of blocks begin..end-1 into scratch."""
        in_batches(begin, end, self.batch, self._blocks)

    def _blocks(self, first: Expr, count: int) -> None:
        c, dim = self.codes, self.codes.blocks.key_dim
        with loop(0, count) as b:
            self._fold(first + b, let(b * c.rows))
        lines = range(count * c.rows)
        peaks = reduce_many([self.tops.vector(i * LANES) for i in lines], maximum)
        self.low.store(0, reduce_many([self.lows.vector(i * LANES) for i in lines], lambda x, y: x + y))
        self.steps.store(0, peaks * splat(1 / _QUERY_TOP))
        self.inverses.store(0, splat(float(_QUERY_TOP)) / peaks)
        with loop(0, len(lines)) as i:
            inverse = let(splat(self.inverses[i]))
            with loop(0, dim // LANES) as j:
                at = let(i * dim + j * LANES)
                self.query.store(at, cast("int8", nearest(self.folded.vector(at), inverse)))
        with loop(0, count) as b:
            for batch in c.batches(2):
                self._products(let(first + b), batch, let(b * c.rows))

    def _fold(self, block: Expr, line: Expr) -> None:
        """Queries times this block's scales, their largest magnitudes and their products with the minima, in lanes."""
        c, dim = self.codes, self.codes.blocks.key_dim
        tops = [Reg("float32", splat(TINY)) for _ in range(c.rows)]
        lows = [Reg("float32", splat(0.0)) for _ in range(c.rows)]
        scales, first = let(c.blocks.key_scales(c.head, block)), let(c.blocks.key_at(c.head, block))
        with loop(0, dim // LANES) as i:
            c.ahead(c.keys, first + dim * c.blocks.bits + i * LANES, self.batch * c.blocks.key_words)
            scale, low = c.half(c.keys, scales + i * LANES), c.half(c.keys, scales + dim + i * LANES)
            for r in range(c.rows):
                q = let(c.qkv.vector(c.q + r * c.q_stride + i * LANES))
                scaled = let(fence(q * scale))
                self.folded.store((line + r) * dim + i * LANES, scaled)
                tops[r].set(maximum(absolute(scaled), tops[r].v))
                lows[r].set(fma(q, low, lows[r].v))
        for r in range(c.rows):
            self.tops.store((line + r) * LANES, tops[r].v)
            self.lows.store((line + r) * LANES, lows[r].v)

    def _products(self, block: Expr, batch: range, line: Expr) -> None:
        c, fields = self.codes, self.codes.blocks.fields
        acc = [[Reg("int32", splat(0)) for _ in range(2)] for _ in batch]
        first = let(c.blocks.key_at(c.head, block))
        with loop(0, c.blocks.key_dim // (2 * fields)) as v:
            c.ahead(c.keys, first + v * LANES, self.batch * c.blocks.key_words)
            vectors = kv_dot.unpack(c.blocks.bits, c.keys.vector(first + v * LANES))
            for accs, r in zip(acc, batch, strict=True):
                at = let((line + r) * c.blocks.key_dim + v * (2 * fields))
                quads = [_quad(self.query, at + 4 * i) for i in range(fields // 2)]
                for half in range(2):
                    kv_dot.accumulate(c.isa, accs[half], vectors[half::2], quads, signed=True)
        for accs, r in zip(acc, batch, strict=True):
            step, low = let(splat(self.steps[line + r])), let(splat(self.low[line + r]))
            for half, a in enumerate(accs):
                position = let(block * BLOCK + half * LANES)
                c.scratch.store(r * c.span + position, self.finish(fma(cast("float32", a.v), step, low), position, r))


class ValueCodes:
    """Weighted sums over blocks of value codes; `sums` are what the float positions go on from."""

    def __init__(self, codes: Codes):
        self.codes = codes
        blocks, rows = codes.blocks, codes.rows
        self.batch = max(1, codes.lines // (rows * blocks.groups))
        self.lines = rows * blocks.groups  # of a block: group, row
        self.totals = Stack(rows * blocks.value_dim, "float32")
        self.rest = Stack(self.lines * LANES, "float32")
        self.scaled = Stack(self.batch * self.lines * BLOCK, "float32")
        self.peaks = Stack(self.batch * self.lines * LANES, "float32")
        self.weights = Stack(self.batch * self.lines * BLOCK, "uint8")
        self.steps, self.inverses = (Stack(-(-self.batch * self.lines // LANES) * LANES, "float32") for _ in range(2))

    def emit(self, begin: Expr, end: Expr) -> None:
        """Add blocks begin..end-1."""
        for stack, size in ((self.totals, self.codes.blocks.value_dim), (self.rest, self.codes.blocks.groups * LANES)):
            with loop(0, self.codes.rows * size // LANES) as i:
                stack.store(i * LANES, splat(0.0))
        in_batches(begin, end, self.batch, self._blocks)

    def sums(self, row: int, vector: Expr) -> Expr:
        """What the blocks add up to: 16 channels of a row."""
        blocks = self.codes.blocks
        group = vector // i32(blocks.group // LANES)
        rest = sum16(self.rest.vector((group * self.codes.rows + row) * LANES))
        return self.totals.vector(row * blocks.value_dim + vector * LANES) + splat(rest)

    def _blocks(self, first: Expr, count: int) -> None:
        groups, rows, lines = self.codes.blocks.groups, self.codes.rows, count * self.lines
        with loop(0, count) as b, loop(0, groups) as g:
            self._fold(let(first + b), g, let(b * self.lines + g * rows))
        for start in range(0, lines, LANES):
            peaks = [self.peaks.vector(i * LANES) for i in range(start, min(start + LANES, lines))]
            top = let(maximum(reduce_many(peaks, maximum), splat(TINY)))
            self.steps.store(start, top * splat(1 / _WEIGHT_TOP))
            self.inverses.store(start, splat(float(_WEIGHT_TOP)) / top)
        tiles = self.codes.blocks.group // LANES
        together = tiles if self.codes.isa.accumulators >= LANES else 1
        with loop(0, count) as b, loop(0, groups) as g:
            block, line = let(first + b), let(b * self.lines + g * rows)
            self._round(block, g, line)
            for tile in range(0, tiles, together):
                self._tiles(block, line, [let(g * tiles + tile + i) for i in range(together)])

    def _fold(self, block: Expr, group: Expr, line: Expr) -> None:
        """Weights times a group's scales; the largest of each row, in lanes."""
        c = self.codes
        at = let(c.blocks.value_scales(c.head, block, group))
        scales = [c.half(c.values, at + h * LANES) for h in range(2)]
        for line_at in (at, at + c.blocks.groups * BLOCK):
            c.ahead(c.values, line_at // i32(2), self.batch * c.blocks.value_words)
        for r in range(c.rows):
            scaled = []
            for h, scale in enumerate(scales):
                scaled.append(let(fence(c.scratch.vector(r * c.span + block * BLOCK + h * LANES) * scale)))
                self.scaled.store((line + r) * BLOCK + h * LANES, scaled[h])
            self.peaks.store((line + r) * LANES, maximum(*scaled))

    def _round(self, block: Expr, group: Expr, line: Expr) -> None:
        """Weights as codes; the minima's share and what rounding left go to `rest`."""
        c = self.codes
        at = let(c.blocks.value_scales(c.head, block, group) + c.blocks.groups * BLOCK)
        lows = [c.half(c.values, at + h * LANES) for h in range(2)]
        for r in range(c.rows):
            rest_at = let((group * c.rows + r) * LANES)
            rest: Any = self.rest.vector(rest_at)
            inverse, step = let(splat(self.inverses[line + r])), let(splat(0.0) - splat(self.steps[line + r]))
            for h in range(2):
                scaled = let(self.scaled.vector((line + r) * BLOCK + h * LANES))
                code = let(nearest(scaled, inverse))
                self.weights.store((line + r) * BLOCK + h * LANES, cast("uint8", code))
                left = let(fma(cast("float32", code), step, scaled))
                weight = c.scratch.vector(r * c.span + block * BLOCK + h * LANES)
                rest = let(fma(left, splat(float(c.blocks.middle)), fma(weight, lows[h], rest)))
            self.rest.store(rest_at, rest)

    def _tiles(self, block: Expr, line: Expr, tiles: list[Expr]) -> None:
        """16 channels a tile."""
        c = self.codes
        vectors = _QUADS // c.blocks.fields
        first = let(c.blocks.value_at(c.head, block))
        codes = []
        for tile in tiles:
            for v in range(vectors):
                c.ahead(c.values, first + (tile * vectors + v) * LANES, self.batch * c.blocks.value_words)
            stored = [c.values.vector(first + (tile * vectors + v) * LANES) for v in range(vectors)]
            codes.append([code for v in stored for code in kv_dot.unpack(c.blocks.bits, v)])
        for r in range(c.rows):
            step = let(splat(self.steps[line + r]))
            quads = [_quad(self.weights, (line + r) * BLOCK + 4 * j) for j in range(_QUADS)]
            for tile, held in zip(tiles, codes, strict=True):
                acc = Reg("int32", splat(0))
                kv_dot.accumulate(c.isa, acc, held, quads, signed=False)
                at = let(r * c.blocks.value_dim + tile * LANES)
                self.totals.store(at, fma(cast("float32", acc.v), step, self.totals.vector(at)))


def in_batches(begin: Expr, end: Expr, size: int, emit: Callable[[Expr, int], None]) -> None:
    """`emit(first, size)` for whole batches of blocks, then `emit(block, 1)` for those left."""
    begin = let(begin)
    whole = let((end - begin) // i32(size))
    with loop(0, whole) as i:
        emit(let(begin + i * size), size)
    if size > 1:
        with loop(begin + whole * size, end) as block:
            emit(let(block), 1)


def nearest(x: Expr, factor: Expr) -> Expr:
    """x * factor to the nearest integer, halves to even, as int32: adding _ROUND leaves it in the low bits."""
    return bits("int32x16", fma(x, factor, splat(_ROUND))) - splat(_ROUND_BITS)


def _quad(stack: Stack, at: Expr) -> Expr:
    """Four bytes as an int32."""
    return let(bits("int32", stack.vector(at, 4)))
