"""Emits 16 output rows times a few activation rows of a binary linear: the inner loops of `binary`.

GEMM on ARM: cycles of one word of 16 outputs x 4 rows (2048 multiply-adds), llvm-mca of the hot loop. 16 registers of
products are 16 `eor`, `cnt` and `add`: 24 cycles of two pipes, 12 of four. float32: 256 (A55: 848), 128 in its loop.

| version | predicted | A55 | A72 | N1 | V1 |
|---|---|---|---|---|---|
| 4 rows x 1 tile, activation words duplicated by `ld1r` (a vector instruction each) | 26 | 80 | 28 | 27.5 | 14 |
| 2 rows x 2 tiles: half as many `ld1r` | 25 | 73 | 27 | 26.5 | 13.8 |
| activation words stored four times, plain loads: `copies` | 24 | 73 | 24 | 24 | 12 |
| the same, pieces of 31 words and a shorter one by one loop of varying length | 24 | 97 | 32 | 33, moves | 16.3 |
| dotprod: `udot` with ones instead of `add`, nothing to widen | 24 | 78 | | 24.5 | 12.3 |

Widening costs NEON's bytes another 5 %. A GEMV word of 16 outputs takes 6 cycles on N1: memory is slower.

GEMM on x86, share of what the CPU does from registers alone (exclusive or, popcount, add: 5.1 Top/s a thread of a busy
Zen 5, CPU time, 4096^3, `benchmarks/kernels_binary.py --cpu`; OpenBLAS's float32 0.11-0.12):

| version | share |
|---|---|
| 8 rows x 1 tile, `vpopcntd`, activations broadcast by the exclusive or; 16 tiles to a pass over the rows | 86-88 % |
| the same, 64 tiles (half a megabyte) to a pass: rows are read from L3 a quarter as often | 92-93 % |
| 128 tiles (all of L2) | 91 % |
| probe, not kept: 16 rows x 1 tile, half as many loads of weights: 16, 32, 64, 128 tiles to a pass | 89, 91, 93, 91 % |
| without VPOPCNTDQ, counts by shuffles in bytes (`avx512vnni`) | 33 % |
| the same on AVX2, 4 rows | 17 % |
| probe, not kept: 4 rows, carry-save adders (`vpternlogd`) before one count of 8 words | 55 % |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeq.kernels import popcount
from edgeq.kernels import vector as V
from edgeq.kernels.binary_pack import VECTOR_BYTES, copies, words
from edgeq.targets.isa import Isa


@dataclass(frozen=True)
class Operands:
    """The kernel's inputs; activation words are interleaved by rows (`[words][rows][copies]`)."""

    isa: Isa
    K: int
    rows: int
    weights: V.Memory  # uint8
    signs: V.Memory  # int32
    first: V.Expr  # index of the rows' first word
    op: str = "xnor"  # what is counted: bits that differ, or ("and") bits set on both sides
    ahead: int = 0  # bytes of software prefetch; 0: none

    def weight(self, tile: V.Expr, w: V.Expr) -> V.Expr:
        """int32x16: word w of 16 outputs."""
        at = tile + V.i64(w) * V.i64(VECTOR_BYTES)
        if self.ahead:
            self.weights.prefetch(at + V.i64(self.ahead))
        return V.let(self.weights.view(at, "int32x16"))

    def sign(self, row: int, w: V.Expr) -> V.Expr:
        """Word w of an activation row in every lane."""
        count = copies(self.isa)
        at = self.first + (w * V.i32(self.rows) + V.i32(row)) * V.i32(count)
        if count == 1:
            return V.splat(self.signs[at])
        return V.concat([V.let(self.signs.vector(at, count))] * (V.LANES // count))

    def meet(self, weight: V.Expr, sign: V.Expr) -> V.Expr:
        """The bits to count."""
        return weight & sign if self.op == "and" else weight ^ sign


def emit_counts(x: Operands, tile: V.Expr) -> list[V.Expr]:
    """int32x16 of the tile at byte offset `tile` (int64), one an activation row: sums of sign products, or ("and")
    how many bits are set on both sides."""
    totals = [V.Reg("int32", V.splat(0)) for _ in range(x.rows)]
    if popcount.in_bytes(x.isa):
        _count_bytes(x, tile, totals)
    else:
        with V.loop(0, words(x.K)) as w:
            _step(x, tile, w, lambda row, bits: popcount.add_words(x.isa, totals[row], bits))
    if x.op == "and":
        return [t.v for t in totals]
    return [V.let(V.splat(x.K) - (t.v << V.splat(1))) for t in totals]


def _count_bytes(x: Operands, tile: V.Expr, totals: list[V.Reg]) -> None:
    """Words are counted in bytes, in pieces of equal length (a byte cannot hold more) and one that is shorter."""
    total = words(x.K)
    size = -(-total // -(-total // popcount.BYTE_WORDS))
    with V.loop(0, total // size) as piece:
        _piece(x, tile, V.let(piece * V.i32(size)), size, totals)
    if total % size:
        _piece(x, tile, V.i32(total - total % size), total % size, totals)


def _piece(x: Operands, tile: V.Expr, start: V.Expr, length: int, totals: list[V.Reg]) -> None:
    """Count words start .. start + length - 1; a constant length, or LLVM shuffles the counts between registers."""
    counts = [V.Reg("uint8", V.bits("uint8x64", V.splat(0)), 64) for _ in totals]
    with V.loop(0, length) as w:
        _step(x, tile, V.let(start + w), lambda row, bits: popcount.add_bytes(counts[row], bits))
    for sums, count in zip(totals, counts, strict=True):
        sums.set(sums.v + popcount.widen(x.isa, count.v))


def _step(x: Operands, tile: V.Expr, w: V.Expr, add: Callable[[int, V.Expr], None]) -> None:
    """Word w of 16 outputs meets word w of every activation row."""
    weight = x.weight(tile, w)
    for row in range(x.rows):
        add(row, x.meet(weight, x.sign(row, w)))
