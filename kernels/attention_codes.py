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
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeq.kernels import kv_dot
from edgeq.kernels.kv_blocks import BLOCK, TINY, KvBlocks
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Reg,
    Stack,
    absolute,
    bits,
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
    rint,
    splat,
    sum16,
)
from edgeq.targets.isa import Isa

_QUERY_TOP, _WEIGHT_TOP = 127, 255
_QUADS = BLOCK // 4


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

    def batches(self, registers: int) -> list[range]:
        """Rows taken at once when each needs `registers` accumulators."""
        size = max(1, self.isa.accumulators // registers)
        return [range(i, min(i + size, self.rows)) for i in range(0, self.rows, size)]


class KeyCodes:
    """Scores over blocks of key codes."""

    def __init__(self, codes: Codes, finish: Finish):
        self.codes, self.finish = codes, finish
        size = codes.rows * codes.blocks.key_dim
        self.folded, self.query = Stack(size, "float32"), Stack(size, "int8")

    def emit(self, begin: Expr, end: Expr) -> None:
        """Scores of blocks begin..end-1 into scratch."""
        with loop(begin, end) as block:
            steps, lows = self._fold(block)
            for batch in self.codes.batches(2):
                self._block(block, batch, steps, lows)

    def _fold(self, block: Expr) -> tuple[list[Expr], list[Expr]]:
        """Queries times this block's scales, as codes; their steps, and their products with the minima."""
        c, dim = self.codes, self.codes.blocks.key_dim
        tops = [Reg("float32", splat(TINY)) for _ in range(c.rows)]
        lows = [Reg("float32", splat(0.0)) for _ in range(c.rows)]
        scales = let(c.blocks.key_scales(c.head, block))
        with loop(0, dim // LANES) as i:
            scale, low = c.half(c.keys, scales + i * LANES), c.half(c.keys, scales + dim + i * LANES)
            for r in range(c.rows):
                q = let(c.qkv.vector(c.q + r * c.q_stride + i * LANES))
                scaled = let(fence(q * scale))
                self.folded.store(r * dim + i * LANES, scaled)
                tops[r].set(maximum(absolute(scaled), tops[r].v))
                lows[r].set(fma(q, low, lows[r].v))
        peaks = [let(max16(top.v)) for top in tops]
        inverses = [let(f32(_QUERY_TOP) / peak) for peak in peaks]
        with loop(0, dim // LANES) as i:
            for r, inverse in enumerate(inverses):
                scaled = fence(self.folded.vector(r * dim + i * LANES) * splat(inverse))
                self.query.store(r * dim + i * LANES, cast("int8", rint(scaled)))
        return [let(peak * f32(1 / _QUERY_TOP)) for peak in peaks], [let(sum16(low.v)) for low in lows]

    def _block(self, block: Expr, batch: range, steps: list[Expr], lows: list[Expr]) -> None:
        c, fields = self.codes, self.codes.blocks.fields
        acc = [[Reg("int32", splat(0)) for _ in range(2)] for _ in batch]
        first = let(c.blocks.key_at(c.head, block))
        with loop(0, c.blocks.key_dim // (2 * fields)) as v:
            vectors = kv_dot.unpack(c.blocks.bits, c.keys.vector(first + v * LANES))
            for line, r in zip(acc, batch, strict=True):
                at = let(r * c.blocks.key_dim + v * (2 * fields))
                quads = [_quad(self.query, at + 4 * i) for i in range(fields // 2)]
                for half in range(2):
                    kv_dot.accumulate(c.isa, line[half], vectors[half::2], quads, signed=True)
        for line, r in zip(acc, batch, strict=True):
            for half, a in enumerate(line):
                position = let(block * BLOCK + half * LANES)
                score = fma(cast("float32", a.v), splat(steps[r]), splat(lows[r]))
                c.scratch.store(r * c.span + position, self.finish(score, position, r))


class ValueCodes:
    """Weighted sums over blocks of value codes; `sums` are what the float positions go on from."""

    def __init__(self, codes: Codes):
        self.codes = codes
        blocks, rows = codes.blocks, codes.rows
        self.totals = Stack(rows * blocks.value_dim, "float32")
        self.rest = Stack(rows * blocks.groups * LANES, "float32")
        self.weights = Stack(rows * BLOCK, "uint8")

    def emit(self, begin: Expr, end: Expr) -> None:
        """Add blocks begin..end-1."""
        blocks = self.codes.blocks
        for stack, size in ((self.totals, blocks.value_dim), (self.rest, blocks.groups * LANES)):
            with loop(0, self.codes.rows * size // LANES) as i:
                stack.store(i * LANES, splat(0.0))
        with loop(begin, end) as block, loop(0, blocks.groups) as g:
            steps = self._fold(block, g)
            for tile in range(blocks.group // LANES):
                self._tile(block, let(g * (blocks.group // LANES) + tile), steps)

    def sums(self, row: int, vector: Expr) -> Expr:
        """What the blocks add up to: 16 channels of a row."""
        blocks = self.codes.blocks
        group = vector // i32(blocks.group // LANES)
        rest = sum16(self.rest.vector((row * blocks.groups + group) * LANES))
        return self.totals.vector(row * blocks.value_dim + vector * LANES) + splat(rest)

    def _fold(self, block: Expr, group: Expr) -> list[Expr]:
        """Weights times this group's scales, as codes; their steps. The minima's share goes to `rest`."""
        c = self.codes
        at = let(c.blocks.value_scales(c.head, block, group))
        scales = [c.half(c.values, at + h * LANES) for h in range(2)]
        lows = [c.half(c.values, at + c.blocks.groups * BLOCK + h * LANES) for h in range(2)]
        steps = []
        for r in range(c.rows):
            weights = [let(c.scratch.vector(r * c.span + block * BLOCK + h * LANES)) for h in range(2)]
            scaled = [let(fence(p * s)) for p, s in zip(weights, scales, strict=True)]
            peak = let(maximum(max16(let(maximum(*scaled))), f32(TINY)))
            inverse, step = let(f32(_WEIGHT_TOP) / peak), let(peak * f32(1 / _WEIGHT_TOP))
            rest_at = let((r * c.blocks.groups + group) * LANES)
            rest: Any = self.rest.vector(rest_at)
            for h in range(2):
                code = let(rint(fence(scaled[h] * splat(inverse))))
                self.weights.store(r * BLOCK + h * LANES, cast("uint8", cast("int32", code)))
                left = fma(code, splat(let(f32(0.0) - step)), scaled[h])
                rest = fma(let(left), splat(float(c.blocks.middle)), fma(weights[h], lows[h], rest))
            self.rest.store(rest_at, rest)
            steps.append(step)
        return steps

    def _tile(self, block: Expr, tile: Expr, steps: list[Expr]) -> None:
        """16 channels."""
        c = self.codes
        vectors = _QUADS // c.blocks.fields
        first = let(c.blocks.value_at(c.head, block) + tile * (vectors * LANES))
        stored = [c.values.vector(first + v * LANES) for v in range(vectors)]
        codes = [code for v in stored for code in kv_dot.unpack(c.blocks.bits, v)]
        for r, step in enumerate(steps):
            acc = Reg("int32", splat(0))
            quads = [_quad(self.weights, r * BLOCK + 4 * j) for j in range(_QUADS)]
            kv_dot.accumulate(c.isa, acc, codes, quads, signed=False)
            at = let(r * c.blocks.value_dim + tile * LANES)
            self.totals.store(at, fma(cast("float32", acc.v), splat(step), self.totals.vector(at)))


def _quad(stack: Stack, at: Expr) -> Expr:
    """Four bytes as an int32."""
    return let(bits("int32", stack.vector(at, 4)))
