"""The inner loops of `attend`: one block of queries of one head, queries in lanes.

Scratch holds the queries transposed and scaled to base-2 scores `[D][block]`, the scores of a chunk of keys
`[CHUNK][block]`, and the outputs transposed `[Dv][block]`. Chunk after chunk: scores and their peak, weights
`exp2(score - peak)` and their sum, outputs; when the peak rises, what was summed is scaled down (online softmax). Every
lane is a query of its own, and the order of its sums depends on its block's keys alone: channels in order, keys in
order, four partial sums of weights. So results do not depend on threads, instruction set or register tile.

One thread of a Zen 5 core (peak 252 GFLOP/s; AVX2 126), `benchmarks/kernels_static.py`: 12 heads of 32 over 128 tokens
188 GFLOP/s (AVX2 88), of 64 over 197 190 (91), windows of 14 x 14 with a grid bias 179, 64 x 64 195.
"""

from __future__ import annotations

from collections.abc import Callable

from edgeq.kernels.attend_shape import CHUNK, Buffers, Shape
from edgeq.kernels.elementwise import soft_cap
from edgeq.kernels.lanes import lane_numbers
from edgeq.kernels.naming import padded
from edgeq.kernels.scalars import BY_LANE, Scalars, steps
from edgeq.kernels.transcendental import LOG2E, exp2
from edgeq.kernels.transpose import transpose16
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Reg,
    Stack,
    branch,
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
    when,
)
from edgeq.targets.isa import Isa

_LOWEST, _HIGHEST = -3e38, 3e38
_CHAINS = 4  # partial sums of weights


def over_blocks(kind: type[Block], shape: Shape, isa: Isa, at: Buffers, lo: Expr, hi: Expr) -> None:
    """Units lo .. hi - 1, each emitted by a `kind`; the last block of a head may have fewer queries."""
    whole, rest = divmod(shape.S, shape.block)
    blocks = whole + bool(rest)
    with loop(lo, hi) as unit:
        head = let(unit // blocks)
        number = let(unit - head * blocks)
        example = let(head // shape.H)
        args = shape, isa, at, example, let(head - example * shape.H), let(number * shape.block)
        if not rest:
            kind(*args, shape.block).emit()
        elif not whole:
            kind(*args, rest).emit()
        else:
            branch(number < whole, kind(*args, shape.block).emit, kind(*args, rest).emit)


class Block:
    """Queries `first .. first + count - 1` of a head of an example."""

    keeps_scores = False  # weights are only summed, not written over the scores

    def __init__(self, shape: Shape, isa: Isa, at: Buffers, example: Expr, head: Expr, first: Expr, count: int):
        self.shape, self.isa, self.at, self.scratch = shape, isa, at, at.scratch
        self.example, self.head, self.first, self.count = example, head, first, count
        self.vectors = -(-count // LANES)
        self.stride, self.places = shape.block, shape.layout
        budget = isa.accumulators
        self.together = min(self.vectors, max(1, budget // 8))  # vectors of queries in a register tile
        self.width = max(1, budget // self.together)  # keys or channels in it
        self.step = BY_LANE if isa.by_lane else 1
        self.peaks, self.sums = (Stack(self.vectors * LANES, "float32") for _ in range(2))

    def emit(self) -> None:
        """Everything."""
        shape = self.shape
        kv = let(self.head // (shape.H // shape.HK))
        self.keys = let(self.example * (shape.L * shape.ldk) + kv * shape.D)
        self.values = let(self.example * (shape.L * shape.ldv) + kv * shape.Dv)
        self._queries()
        if shape.grid:
            self._grid_tables(*shape.grid)
        begin, end = self._range()
        self._attend(begin, end)
        if shape.blind:
            lowest = Reg("float32", splat(_HIGHEST))
            for v in range(self.vectors):
                lowest.set(minimum(lowest.v, self.peaks.vector(v * LANES)))
            with when(-max16(splat(0.0) - lowest.v) <= f32(_LOWEST)):
                self._attend(i32(0), i32(shape.L))
        self._store()

    def _queries(self) -> None:
        """Queries times scale, in base 2 where nothing happens to scores before the exponential."""
        shape = self.shape
        factor = shape.scale * (1.0 if shape.softcap else LOG2E)
        first = let((self.example * shape.S + self.first) * shape.ldq + self.head * shape.D)
        self._turn(self.at.q, first, shape.ldq, shape.D, i32(self.places["queries"]), factor)

    def _grid_tables(self, rows: int, columns: int) -> None:
        """Both biases, transposed, in base 2."""
        query = let((self.example * self.shape.H + self.head) * self.shape.S + self.first)
        at = self.places["grid"]
        for source, size in ((self.at.row_bias, rows), (self.at.column_bias, columns)):
            self._turn(source, let(query * padded(size)), padded(size), size, i32(at), LOG2E)
            at += size * self.stride

    def _turn(self, source: Memory, first: Expr, ld: int, width: int, to: Expr, factor: float) -> None:
        """Rows of this block's queries, `ld` apart, to scratch `[width][block]`, times factor; spare lanes repeat."""
        for v in range(self.vectors):
            rows = [min(v * LANES + r, self.count - 1) * ld for r in range(LANES)]
            with loop(0, width // LANES) as c:
                tile = transpose16([source.vector(first + row + c * LANES) for row in rows])
                for j, x in enumerate(tile):
                    self.scratch.store(to + (c * LANES + j) * self.stride + v * LANES, fence(x * splat(factor)))
            for r, row in enumerate(rows if width % LANES else ()):
                with loop(width // LANES * LANES, width) as c:
                    self.scratch.store(to + c * self.stride + (v * LANES + r), source[first + row + c] * f32(factor))

    def _range(self) -> tuple[Expr, Expr]:
        """Keys that any query of the block sees, from a multiple of 16 on."""
        shape = self.shape
        begin, end = i32(0), i32(shape.L)
        position = let(self.first + (shape.L - shape.S))
        if shape.left >= 0:
            begin = let(maximum(position - shape.left, i32(0)) >> 4 << 4)
        if shape.ahead >= 0:
            end = let(minimum(position + (self.count + shape.ahead), end))
        if not shape.pad:
            return begin, end
        oldest, newest = self._limits()
        return let(maximum(begin, oldest >> 4 << 4)), let(minimum(end, newest + 1))

    def _limits(self) -> tuple[Expr, Expr]:
        """Fill in the highest score that each key may have; first and last real key, or all keys when none is real."""
        L, width = self.shape.L, padded(self.shape.L)
        oldest, newest = Reg("int32", splat(L)), Reg("int32", splat(-1))
        with loop(0, width // LANES) as b:
            real = let(self.at.pad.vector(self.example * width + b * LANES))
            key = let(splat(b * LANES) + lane_numbers())
            oldest.set(minimum(oldest.v, select(real != splat(0), key, splat(L))))
            newest.set(maximum(newest.v, select(real != splat(0), key, splat(-1))))
            limit = select(real != splat(0), splat(_HIGHEST), splat(_LOWEST))
            self.scratch.store(self.places["limits"] + b * LANES, limit)
        first, last = let(i32(0) - max16(splat(0) - oldest.v)), let(max16(newest.v))
        return let(select(last < 0, i32(0), first)), let(select(last < 0, i32(L - 1), last))

    def _attend(self, begin: Expr, end: Expr) -> None:
        """Outputs, sums and peaks over keys begin .. end - 1."""
        for v in range(self.vectors):
            self.peaks.store(v * LANES, splat(_LOWEST))
            self.sums.store(v * LANES, splat(0.0))
        if self.shape.L <= CHUNK:
            self._chunk(begin, end, online=False)
            return
        with loop(0, self.shape.Dv * self.stride // LANES) as i:
            self.scratch.store(self.places["outputs"] + i * LANES, splat(0.0))
        with loop(0, let((end - begin + (CHUNK - 1)) // CHUNK)) as c:
            start = let(begin + c * CHUNK)
            self._chunk(start, let(minimum(start + CHUNK, end)), online=True)

    def _chunk(self, begin: Expr, end: Expr, online: bool) -> None:
        """Add keys begin .. end - 1; `online`: others came before."""
        if self.shape.full:
            self._full_bias(begin, end, *self.shape.full)
        shrink = Stack(self.vectors * LANES, "float32") if online else None
        tops = [Reg("float32", self.peaks.vector(v * LANES)) for v in range(self.vectors)]
        self._tiles(begin, end, lambda key, width: self._scores(key, let(key - begin), width, tops))
        for v, top in enumerate(tops):
            if shrink:
                shrink.store(v * LANES, exp2(self.peaks.vector(v * LANES) - top.v, positive=False))
            self.peaks.store(v * LANES, top.v)
        count = let(end - begin)
        self._weights(count, shrink)
        values = let(self.values + begin * self.shape.ldv)
        self._tiles(i32(0), i32(self.shape.Dv), lambda c, width: self._outputs(values, count, c, width, shrink))

    def _full_bias(self, begin: Expr, end: Expr, examples: int, heads: int) -> None:
        """The bias of a chunk to where its scores will be, transposed, in base 2."""
        S, width = self.shape.S, padded(self.shape.L)
        matrix = (self.example if examples > 1 else i32(0)) * heads + (self.head if heads > 1 else i32(0))
        row = let((matrix * S + self.first) * width + begin)
        with loop(0, (end - begin + (LANES - 1)) // LANES) as b:
            to = let(self.places["scores"] + b * (LANES * self.stride))
            self._turn(self.at.bias, let(row + b * LANES), width, LANES, to, LOG2E)

    def _tiles(self, begin: Expr, end: Expr, emit: Callable[[Expr, int], None]) -> None:
        """emit(first, count) over a range: whole register tiles, then halves of them for what is left."""
        at, width = Reg("int32", begin, lanes=1), self.width
        while width:
            with loop(0, let((end - at.v) // width)):
                emit(let(at.v), width)
                at.set(at.v + width)
            width //= 2

    def _groups(self) -> list[range]:
        """Vectors of queries, one register tile after the other."""
        return [range(v, min(v + self.together, self.vectors)) for v in range(0, self.vectors, self.together)]

    def _scores(self, key: Expr, place: Expr, width: int, tops: list[Reg]) -> None:
        """Scores of keys key .. key + width - 1 to rows place.. of the chunk, and the largest so far."""
        shape = self.shape
        base, to = let(self.keys + key * shape.ldk), let(self.places["scores"] + place * self.stride)
        for group in self._groups():
            acc = [[Reg("float32", splat(0.0)) for _ in range(width)] for _ in group]
            def add(d: Expr, step: int, group: range = group, acc: list[list[Reg]] = acc) -> None:
                keys = Scalars(self.at.k, [base + (j * shape.ldk) + d for j in range(width)], step)
                for u in range(step):
                    queries = [let(self.scratch.vector(self._at("queries", d + u, v))) for v in group]
                    for j in range(width):
                        k = keys.splat(j, u)
                        for line, query in zip(acc, queries, strict=True):
                            line[j].set(fma(query, k, line[j].v))

            steps(i32(0), i32(shape.D), self.step, add)
            for v, line in zip(group, acc, strict=True):
                for j, a in enumerate(line):
                    at = let(to + (j * self.stride + v * LANES))
                    score = let(self._finish(a.v, let(key + j), v, at))
                    self.scratch.store(at, score)
                    tops[v].set(maximum(score, tops[v].v))

    def _finish(self, score: Expr, key: Expr, v: int, at: Expr) -> Expr:
        """A sum of products -> a base-2 score of the queries of vector v: cap, bias (a full one is at `at`), masks."""
        shape = self.shape
        score = let(fence(score))
        if shape.softcap:
            score = let(fence(soft_cap(score, shape.softcap) * splat(LOG2E)))
        if shape.full:
            score = let(maximum(score + self.scratch.vector(at), splat(_LOWEST)))
        if shape.grid:
            rows, columns = shape.grid
            row = let(key // columns)
            by_row = self.scratch.vector(self._at("grid", row, v))
            by_column = self.scratch.vector(self._at("grid", key - row * columns + rows, v))
            score = let(maximum(score + by_row + by_column, splat(_LOWEST)))
        if shape.windowed:
            ahead = let(splat(key - (self.first + (v * LANES + shape.L - shape.S))) - lane_numbers())
            if shape.ahead >= 0:
                score = let(select(ahead <= splat(shape.ahead), score, splat(_LOWEST)))
            if shape.left >= 0:
                score = let(select(ahead >= splat(-shape.left), score, splat(_LOWEST)))
        if shape.pad:
            score = minimum(score, splat(self.scratch[self.places["limits"] + key]))
        return score

    def _weights(self, count: Expr, shrink: Stack | None) -> None:
        """Scores of a chunk -> weights; adds to the sums."""
        for group in self._groups():
            self._weights_of(group, count, shrink)

    def _weights_of(self, vectors: range, count: Expr, shrink: Stack | None) -> None:
        peaks = {v: let(self.peaks.vector(v * LANES)) for v in vectors}
        sums = {v: [Reg("float32", splat(0.0)) for _ in range(_CHAINS)] for v in vectors}

        def add(row: Expr, chain: int) -> None:
            for v in vectors:
                at = let(self._at("scores", row, v))
                weight = exp2(self.scratch.vector(at) - peaks[v], positive=False, short=self.keeps_scores)
                if not self.keeps_scores:
                    self.scratch.store(at, weight)
                sums[v][chain].set(sums[v][chain].v + weight)

        with loop(0, count // _CHAINS) as i:
            for chain in range(_CHAINS):
                add(i * _CHAINS + chain, chain)
        with loop(count // _CHAINS * _CHAINS, count) as i:
            add(i, 0)
        for v, (a, b, c, d) in sums.items():
            total = (a.v + b.v) + (c.v + d.v)
            if shrink:
                total = fma(self.sums.vector(v * LANES), shrink.vector(v * LANES), total)
            self.sums.store(v * LANES, total)

    def _outputs(self, values: Expr, count: Expr, channel: Expr, width: int, shrink: Stack | None) -> None:
        """Add the weighted values of a chunk in channels channel .. channel + width - 1."""
        for group in self._groups():
            places = [[let(self._at("outputs", channel + j, v)) for j in range(width)] for v in group]
            acc = [
                [Reg("float32", self._so_far(at, v, shrink)) for at in ats]
                for v, ats in zip(group, places, strict=True)
            ]
            with loop(0, count) as i:
                weights = [let(self.scratch.vector(self._at("scores", i, v))) for v in group]
                first = values + i * self.shape.ldv
                row = Scalars(self.at.v, [first + channel], width) if width == self.step else None
                for j in range(width):
                    value = row.splat(0, j) if row else let(splat(self.at.v[first + (channel + j)]))
                    for line, weight in zip(acc, weights, strict=True):
                        line[j].set(fma(weight, value, line[j].v))
            for line, targets in zip(acc, places, strict=True):
                for a, at in zip(line, targets, strict=True):
                    self.scratch.store(at, a.v)

    def _so_far(self, at: Expr, v: int, shrink: Stack | None) -> Expr:
        return self.scratch.vector(at) * shrink.vector(v * LANES) if shrink else splat(0.0)

    def _store(self) -> None:
        """Outputs divided by the sums, rows again."""
        shape, width = self.shape, padded(self.shape.H * self.shape.Dv)
        for v in range(self.vectors):
            self.sums.store(v * LANES, splat(1.0) / self.sums.vector(v * LANES))
            rows = min(LANES, self.count - v * LANES)
            first = let((self.example * shape.S + self.first + v * LANES) * width + self.head * shape.Dv)
            inverse = let(self.sums.vector(v * LANES))
            with loop(0, shape.Dv // LANES) as c:
                lines = [self.scratch.vector(self._at("outputs", c * LANES + j, v)) * inverse for j in range(LANES)]
                for r, x in enumerate(transpose16(lines)[:rows]):
                    self.at.o.store(first + r * width + c * LANES, x)
            with loop(0, rows) as r:
                with loop(shape.Dv // LANES * LANES, shape.Dv) as c:
                    x = self.scratch[self._at("outputs", c, v) + r] * self.sums[v * LANES + r]
                    self.at.o.store(first + r * width + c, x)
                self._clear(first + r * width, width - shape.H * shape.Dv)

    def _clear(self, row: Expr, count: int) -> None:
        """The last head's units keep the pad lanes of o zero."""
        if count:
            with when(self.head == self.shape.H - 1), loop(0, count) as i:
                self.at.o.store(row + self.shape.Dv + i, f32(0.0))

    def _at(self, part: str, row: Expr, v: int) -> Expr:
        """Index of a vector of queries in a row of a part of scratch."""
        return row * self.stride + (self.places[part] + v * LANES)
