"""The inner loops of `attend_codes`: one block of queries of one head, queries in lanes.

Scores of every key that the block sees are in scratch at once (a code depends on its row's sum), then codes take their
place, four keys in a lane. A code of a logarithmic grid is `round(tau * (log2 s + log2 sum + peak - score))`: weights
are only summed, by a shorter polynomial. Codes become a plane's levels by one shuffle of bytes; a quad of keys in which
a plane is zero for the whole block is left out of that plane's list, so that a plane costs what it holds. Sums are
integers and exact: 128 * 127 * L < 2^31.

Time of softmax x V with its scores (`benchmarks/kernels_attend.py`, a busy Zen 5, AVX-512): int8 1, float 1.05 (32
tokens) to 1.45 (SAM 64 x 64), log2 of granularity 4 0.9-1.1, of 1 and 2 (two planes) 1.05-1.2.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.ir.probabilities import TOP, ProbabilityGrid
from edgeq.kernels import attend_dot
from edgeq.kernels.attend_shape import Buffers, Shape
from edgeq.kernels.attend_tile import Block
from edgeq.kernels.naming import padded
from edgeq.kernels.scalars import Scalars
from edgeq.kernels.table import lookup
from edgeq.kernels.transcendental import log2
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Reg,
    bits,
    cast,
    fence,
    fma,
    i32,
    intrinsic,
    let,
    loop,
    maximum,
    minimum,
    select,
    splat,
)
from edgeq.targets.isa import Isa

_LOWEST = -3e38
_ROUND = 12582912.0  # 1.5 * 2**23: adding it leaves a small integer in the low mantissa bits
_PACKED = 0x4B400000 ^ 0x40000000  # what the bits of four such numbers leave beside the integers


@dataclass(frozen=True)
class CodedShape(Shape):
    """One attention over codes. Raises UnsupportedError."""

    probs: str

    def __post_init__(self) -> None:
        super().__post_init__()
        ProbabilityGrid.parse(self.probs)
        if self.L * TOP * 127 >= 1 << 31:
            raise UnsupportedError(f"attend with probabilities {self.probs}: {self.L} keys overflow sums of 32 bits")

    @property
    def grid_of_probs(self) -> ProbabilityGrid:
        """What codes mean."""
        return ProbabilityGrid.parse(self.probs)

    @property
    def layout(self) -> dict[str, int]:
        """As Shape's; `lists`: of each plane, where the values of its quads lie."""
        keys, quads, grid = padded(self.L), -(-self.L // 4), self.grid_of_probs
        sizes = {"queries": self.D, "scores": keys, "outputs": self.Dv, "grid": sum(self.grid or (0, 0))}
        places, at = {}, 0
        for name, size in sizes.items():
            places[name], at = at, at + size * self.block
        lists = at + (padded(self.L) if self.pad else 0)
        return {**places, "limits": at, "lists": lists, "end": lists + max(1, len(grid.planes)) * padded(quads)}


@dataclass(frozen=True)
class CodedBuffers(Buffers):
    """The pointers of the kernel; `v` holds int8, four keys in an element."""

    vs: Memory
    ps: Memory

    @classmethod
    def of(cls, given: dict[str, Memory]) -> CodedBuffers:
        """By parameter name, `vq` being `v`."""
        given = {**given, "v": given["vq"]}
        return cls(**{item.name: given[item.name] for item in fields(cls)})


class CodedBlock(Block):
    """Queries `first .. first + count - 1` of a head of an example."""

    shape: CodedShape
    at: CodedBuffers

    def __init__(
        self, shape: CodedShape, isa: Isa, at: CodedBuffers, example: Expr, head: Expr, first: Expr, count: int
    ):
        super().__init__(shape, isa, at, example, head, first, count)
        self.codes = shape.grid_of_probs
        self.keeps_scores = bool(self.codes.tau)
        self.planes = self.codes.planes
        self.counts = [Reg("int32", i32(0), lanes=1) for _ in self.planes or (None,)]

    def _attend(self, begin: Expr, end: Expr) -> None:
        """Outputs over keys begin .. end - 1, `begin` a multiple of 4."""
        for v in range(self.vectors):
            self.peaks.store(v * LANES, splat(_LOWEST))
        if self.shape.full:
            self._full_bias(begin, end, *self.shape.full)
        tops = [Reg("float32", self.peaks.vector(v * LANES)) for v in range(self.vectors)]
        self._tiles(begin, end, lambda key, width: self._scores(key, let(key - begin), width, tops))
        for v, top in enumerate(tops):
            self.peaks.store(v * LANES, top.v)
        count = let(end - begin)
        self._weights(count, None)
        quads = let((count + 3) // 4)
        with loop(count, quads * 4) as row:  # keys that nobody sees
            for v in range(self.vectors):
                self.scratch.store(self._at("scores", row, v), splat(_LOWEST if self.keeps_scores else 0.0))
        self._encode(let(begin // 4), quads)
        self._products()
        for v in range(self.vectors):
            self.sums.store(v * LANES, splat(1.0))

    def _encode(self, first: Expr, quads: Expr) -> None:
        """Scores or weights -> codes, a plane's nonzero quads one after the other; `first`: quad of the first row."""
        bases = [let(self._base(v)) for v in range(self.vectors)]
        step = len(self.counts)
        for count in self.counts:
            count.set(i32(0))
        with loop(0, quads) as i:
            packed = [self._packed(i, v, base) for v, base in enumerate(bases)]
            row = let(bits("float32", let((first + i) * padded(self.shape.Dv))))
            shuffles = [attend_dot.table(self.isa, plane.table) for plane in self.planes]
            tables: list[Any] = shuffles or [None]
            found = [[let(lookup(self.isa, x, t)) if t else x for x in packed] for t in tables]
            for p, (count, words) in enumerate(zip(self.counts, found, strict=True)):
                n = let(count.v)
                for v, x in enumerate(words):
                    self.scratch.store(self._at("scores", n * step + p, v), bits("float32x16", x))
                self.scratch.store(self._list(p) + n, row)
                count.set(n + select(_any(words), i32(1), i32(0)))

    def _base(self, v: int) -> Expr:
        """What a vector of queries needs of s and its sums: levels a weight, or the logarithm of both in steps."""
        s, total = splat(self.at.ps[0]), self.sums.vector(v * LANES)
        if not self.codes.tau:
            return splat(float(self.codes.last)) / let(fence(let(s) * total))
        return fence(let(fence(log2(let(s)) + log2(let(total)))) * splat(float(self.codes.tau)))

    def _packed(self, i: Expr, v: int, base: Expr) -> Expr:
        """Codes of rows 4i .. 4i + 3, bytes of a lane."""
        total = None
        for j in range(4):
            x = let(self.scratch.vector(self._at("scores", i * 4 + j, v)))
            if self.codes.tau:
                back = let(fence(self.peaks.vector(v * LANES) - x))
                x = let(maximum(let(fma(back, splat(float(self.codes.tau)), base)), splat(0.0)))
            else:
                x = let(fence(x * base))
            x = let(minimum(x, splat(float(self.codes.last))))
            whole = bits("int32x16", let(fence(x + splat(_ROUND))))
            total = whole if total is None else let(total ^ (whole << splat(8 * j)))
        return let(total ^ splat(_PACKED))

    def _list(self, plane: int) -> int:
        return self.places["lists"] + plane * padded(-(-self.shape.L // 4))

    def _products(self) -> None:
        """Codes by values to outputs, a register tile of channels after the other."""
        shape = self.shape
        kv = let(self.example * shape.HK + self.head // (shape.H // shape.HK))
        values = let(kv * (-(-shape.L // 4) * padded(shape.Dv)))
        scales = let(kv * padded(shape.Dv))
        s = let(self.at.ps[0])
        self._tiles(i32(0), i32(shape.Dv), lambda c, width: self._channels(values, scales, s, c, width))

    def _channels(self, values: Expr, scales: Expr, s: Expr, channel: Expr, width: int) -> None:
        """Outputs of channels channel .. channel + width - 1."""
        parts = [p.multiplier for p in self.planes] or [1.0 / self.codes.last]
        for group in self._groups():
            for p, multiplier in enumerate(parts):
                acc = self._sums(values, channel, width, p, group)
                for j in range(width):
                    for v, line in zip(group, acc, strict=True):
                        at = let(self._at("outputs", channel + j, v))
                        total = let(self._positive(line[j].v))
                        x = total * splat(multiplier)
                        if p:
                            x = fma(total, splat(multiplier), self.scratch.vector(at))
                        if p == len(parts) - 1:
                            x = let(fence(x)) * splat(let(fence(s * self.at.vs[scales + (channel + j)])))
                        self.scratch.store(at, fence(x))

    def _positive(self, total: Expr) -> Expr:
        """A sum as float; tables of signed bytes hold their levels negated."""
        return cast("float32", splat(0) - total if self.planes and attend_dot.negated(self.isa) else total)

    def _sums(self, values: Expr, channel: Expr, width: int, plane: int, group: range) -> list[list[Reg]]:
        """int32 sums of a plane over its keys."""
        acc = [[Reg("int32", splat(0)) for _ in range(width)] for _ in group]
        with loop(0, self.counts[plane].v) as i:
            row = let(bits("int32", self.scratch[self._list(plane) + i]))
            place = let(i * len(self.counts) + plane)
            codes = [let(self.scratch.view(self._at("scores", place, v), "int32x16")) for v in group]
            first = let(values + row + channel)
            held = Scalars(self.at.v, [first], width) if width == self.step else None
            for j in range(width):
                quad = held.splat(0, j) if held else let(splat(self.at.v[first + j]))
                for line, x in zip(acc, codes, strict=True):
                    attend_dot.accumulate(self.isa, line[j], x, quad)
        return acc


def _any(words: list[Expr]) -> Expr:
    """Whether any lane of any vector is not zero."""
    x = words[0]
    for word in words[1:]:
        x = x | word
    return intrinsic("int32", "llvm.vector.reduce.or", x) != i32(0)
