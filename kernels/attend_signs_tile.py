"""The inner loops of `attend_signs`: scores by counting bits, 16 queries in lanes, one word of a key in all of them.

A score is `(D - 2 * popcount(q ^ k)) * mean |k| * mean |q| * scale`: an exact integer, then three roundings in a fixed
order. Everything after it (masks, biases, softmax, values) is `attend`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.kernels import popcount
from edgeq.kernels.attend_shape import Shape
from edgeq.kernels.attend_tile import Block
from edgeq.kernels.binary_pack import WORD_BITS, words
from edgeq.kernels.transcendental import LOG2E
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Reg,
    Stack,
    absolute,
    bits,
    cast,
    fence,
    i32,
    let,
    loop,
    maximum,
    select,
    splat,
)

MAX_CHANNELS = popcount.BYTE_WORDS * WORD_BITS  # a byte counts no further
_UNROLLED = 4  # words


@dataclass(frozen=True)
class SignsShape(Shape):
    """One attention over signs. Raises UnsupportedError."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.D > MAX_CHANNELS:
            raise UnsupportedError(f"attend over signs: heads of {self.D} channels; at most {MAX_CHANNELS}")

    @property
    def key_words(self) -> int:
        """uint32 of a packed key: its signs and its scale."""
        return words(self.D) + 1


class SignsBlock(Block):
    """Queries of a head, packed where `attend` keeps them transposed: word w of 16 queries is row w."""

    shape: SignsShape

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.scales = Stack(self.vectors * LANES, "float32")

    def _queries(self) -> None:
        shape = self.shape
        kv = self.head // (shape.H // shape.HK)
        self.keys = let((self.example * shape.HK + kv) * (shape.L * shape.key_words))
        first = let((self.example * shape.S + self.first) * shape.ldq + self.head * shape.D)
        self._turn(self.at.q, first, shape.ldq, shape.D, i32(self.places["queries"]), 1.0)
        for v in range(self.vectors):
            self.scales.store(v * LANES, self._pack(v))

    def _pack(self, v: int) -> Expr:
        """Signs of a vector of queries in place of their first channels; their scales, times the attention's."""
        shape, total = self.shape, Reg("float32", splat(0.0))
        factor = shape.scale / shape.D * (1.0 if shape.softcap else LOG2E)
        for start in range(0, shape.D, WORD_BITS):
            word = Reg("int32", splat(0))
            with loop(start, min(start + WORD_BITS, shape.D)) as c:
                x = let(self.scratch.vector(self._at("queries", c, v)))
                total.set(total.v + absolute(x))
                word.set(word.v | select(x >= splat(0.0), splat(i32(1) << (c - start)), splat(0)))
            self.scratch.store(self._at("queries", i32(start // WORD_BITS), v), bits("float32x16", word.v))
        return fence(total.v * splat(factor))

    def _scores(self, key: Expr, place: Expr, width: int, tops: list[Reg]) -> None:
        shape, n = self.shape, self.shape.key_words
        base, to = let(self.keys + key * n), let(self.places["scores"] + place * self.stride)
        for j in range(width):
            at = let(base + j * n)
            scale = let(bits("float32x16", splat(self.at.k[at + (n - 1)])))
            for v in range(self.vectors):
                sums = cast("float32", splat(shape.D) - (self._count(at, v) << splat(1)))
                score = let(fence(sums * scale) * self.scales.vector(v * LANES))
                where = let(to + (j * self.stride + v * LANES))
                score = let(self._finish(score, let(key + j), v, where))
                self.scratch.store(where, score)
                tops[v].set(maximum(score, tops[v].v))

    def _count(self, at: Expr, v: int) -> Expr:
        """int32x16: bits in which the key at `at` differs from each query of vector v."""
        n, wide = words(self.shape.D), popcount.in_bytes(self.isa)
        total = Reg("uint8", bits("uint8x64", splat(0)), 64) if wide else Reg("int32", splat(0))

        def step(w: Expr) -> None:
            query = bits("int32x16", self.scratch.vector(self._at("queries", w, v)))
            differ = query ^ splat(self.at.k[at + w])
            if wide:
                popcount.add_bytes(total, differ)
            else:
                popcount.add_words(self.isa, total, differ)

        if n <= _UNROLLED:
            for w in range(n):
                step(i32(w))
        else:
            with loop(0, n) as w:
                step(w)
        return let(popcount.widen(self.isa, total.v) if wide else total.v)
