"""Blocks of keys and values that have just become whole: from the float ring to codes, scales and minima.

Sixteen lines at a time: their smallest and largest numbers, then scales as float16, then codes by what float16 kept.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeq.kernels.half import half_bits
from edgeq.kernels.kv_blocks import BLOCK, TINY, KvBlocks
from edgeq.kernels.kv_cache import KvCache
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Stack,
    bits,
    cast,
    f32,
    fence,
    from_half,
    i32,
    let,
    loop,
    max16,
    maximum,
    minimum,
    rint,
    splat,
)
from edgeq.targets.isa import Isa

_QUADS = LANES // 4
Line = Callable[[Expr], list[Expr]]  # number of a line -> its floats, 16 a vector


class BlockWriter:
    """Emits the quantization of one layer's blocks; ring pointers are int16 (bits of float16), blocks int32."""

    def __init__(self, blocks: KvBlocks, isa: Isa):
        self.blocks, self.isa = blocks, isa
        self.ring = KvCache(blocks.heads, blocks.key_dim, blocks.value_dim, "f16", blocks.ring)

    def keys(self, head: Expr, pos: Expr, m: Expr, ring: Memory, out: Memory) -> None:
        """Emit: key blocks of `head` that end in positions pos..pos+m-1."""
        with loop(pos >> 5, (pos + m) >> 5) as block:
            slot = let((block * BLOCK) % i32(self.blocks.ring))
            first, codes = let(self.ring.key_at(head, slot, 0)), let(self.blocks.key_at(head, block))
            scales = let(self.blocks.key_scales(head, block))
            half = self.blocks.key_dim * LANES

            def line(channel: Expr, first: Expr = first) -> list[Expr]:
                return [self._load(ring, first + channel * LANES + h * half) for h in range(2)]

            with loop(0, self.blocks.key_dim // LANES) as i:
                panel = _Panel(self, line, i * LANES, out, scales + i * LANES, self.blocks.key_dim)
                vectors = 2 * _QUADS // self.blocks.fields
                for v in range(vectors):
                    at = codes + (i * vectors + v) * LANES
                    panel.store(at, [divmod(v * self.blocks.fields + f, 2) for f in range(self.blocks.fields)])

    def values(self, head: Expr, pos: Expr, m: Expr, ring: Memory, out: Memory) -> None:
        """Emit: value blocks of `head` that end in positions pos..pos+m-1."""
        with loop(pos >> 5, (pos + m) >> 5) as block:
            slot = let((block * BLOCK) % i32(self.blocks.ring))
            first, codes = let(self.ring.value_at(head, slot, 0)), let(self.blocks.value_at(head, block))
            with loop(0, self.blocks.groups) as g:
                scales = let(self.blocks.value_scales(head, block, g))
                start = let(first + g * self.blocks.group)

                def line(position: Expr, start: Expr = start) -> list[Expr]:
                    at = start + position * self.blocks.value_dim
                    return [self._load(ring, at + h * LANES) for h in range(self.blocks.group // LANES)]

                self._value_group(line, out, codes, scales, g)

    def _value_group(self, line: Line, out: Memory, codes: Expr, scales: Expr, group: Expr) -> None:
        fields, tiles = self.blocks.fields, self.blocks.group // LANES
        for half in range(BLOCK // LANES):
            panel = _Panel(self, line, half * LANES, out, scales + half * LANES, self.blocks.groups * BLOCK)
            for tile in range(tiles):
                for v in range(_QUADS // fields):
                    vector = (group * tiles + tile) * (8 // fields) + half * (_QUADS // fields) + v
                    panel.store(codes + vector * LANES, [(v * fields + f, tile) for f in range(fields)])

    def _load(self, ring: Memory, at: Expr) -> Expr:
        return let(from_half(self.isa, ring.view(at, f"float16x{LANES}")))


class _Panel:
    """Sixteen lines from line `first` on: scales and minima stored at `scales`; then vectors of their codes."""

    def __init__(self, writer: BlockWriter, line: Line, first: Expr, out: Memory, scales: Expr, minima: int):
        self.blocks, self.line, self.first, self.out = writer.blocks, line, let(i32(0) + first), out
        self.low, range_ = Stack(LANES, "float32"), Stack(LANES, "float32")
        with loop(0, LANES) as i:
            vectors = line(self.first + i)
            low, high = vectors[0], vectors[0]
            for vector in vectors[1:]:
                low, high = let(minimum(low, vector)), let(maximum(high, vector))
            smallest = let(f32(0.0) - max16(let(splat(0.0) - low)))
            self.low.store(i, smallest)
            range_.store(i, max16(high) - smallest)
        self.inverse = self._scales(writer.isa, range_, out.as_type("int16"), scales, minima)

    def _scales(self, isa: Isa, range_: Stack, out: Memory, scales: Expr, minima: int) -> Stack:
        inverse = Stack(LANES, "float32")
        scale = let(half_bits(isa, let(fence(range_.vector(0) * splat(1 / self.blocks.top)))))
        out.store(scales, scale)
        out.store(scales + minima, half_bits(isa, let(self.low.vector(0))))
        kept = let(from_half(isa, bits(f"float16x{LANES}", scale)))
        inverse.store(0, splat(1.0) / maximum(kept, splat(TINY)))
        return inverse

    def store(self, at: Expr, fields: list[tuple[int, int]]) -> None:
        """One stored vector: of each field (quad, vector of a line), four lines' codes, a byte each."""
        word = None
        for f, (quad, vector) in enumerate(fields):
            for byte in range(4):
                i = quad * 4 + byte
                x = self.line(self.first + i)[vector]
                y = fence(fence(x - splat(self.low[i])) * splat(self.inverse[i]))
                codes = cast("int32", rint(minimum(y, splat(float(self.blocks.top)))))
                shifted = codes << splat(8 * byte + self.blocks.bits * f)
                word = let(shifted if word is None else word | shifted)
        self.out.store(at, word)
