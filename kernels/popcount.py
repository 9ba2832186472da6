"""Counting the bits of 16 rows x 32 k at a time: the one thing of the binary kernels that differs by instruction set.

| CPU | how |
|---|---|
| AVX-512 with VPOPCNTDQ | `vpopcntd`, added in 32 bits |
| ARM with dot products | `cnt`, added in 32 bits by a `udot` with ones |
| others | bits of each byte (NEON `cnt`; shuffles or shifts on x86), added in bytes for up to 31 words, then widened |

All are exact. A byte holds the bits of 31 words: 31 * 8 < 256.
"""

from __future__ import annotations

from edgeq.kernels import vector as V
from edgeq.targets.isa import Isa

BYTE_WORDS = 31
_BYTES, _HALVES = 0x00FF00FF, 0x0000FFFF
_QUARTERS = (0, 4, 8, 12)  # a NEON register is a quarter of 16 lanes


def in_bytes(isa: Isa) -> bool:
    """Whether counts are added in bytes (`add_bytes`, `widen`) and not at once in 32 bits (`add_words`)."""
    return "avx512vpopcntdq" not in isa.needs and "dotprod" not in isa.needs


def add_words(isa: Isa, total: V.Reg, words: V.Expr) -> None:
    """total: int32x16 += bits of every lane of words: int32x16."""
    if "avx512vpopcntdq" in isa.needs:
        total.set(total.v + V.intrinsic("int32x16", "llvm.ctpop.v16i32", words))
    else:
        total.set(_dot_ones(total.v, _byte_counts(words)))


def add_bytes(total: V.Reg, words: V.Expr) -> None:
    """total: uint8x64 += bits of every byte of words: int32x16."""
    total.set(total.v + _byte_counts(words))


def widen(isa: Isa, counts: V.Expr) -> V.Expr:
    """uint8x64 -> int32x16, the sum of the four bytes of each lane."""
    if isa.triple.startswith("aarch64"):
        return V.concat([_pairwise(V.part(counts, 4 * q, 16)) for q in _QUARTERS])
    lanes = V.let(V.bits("int32x16", counts))
    pairs = V.let((lanes & V.splat(_BYTES)) + ((lanes >> V.splat(8)) & V.splat(_BYTES)))
    return (pairs & V.splat(_HALVES)) + (pairs >> V.splat(16))


def _byte_counts(words: V.Expr) -> V.Expr:
    return V.intrinsic("uint8x64", "llvm.ctpop.v64i8", V.bits("uint8x64", words))


def _pairwise(counts: V.Expr) -> V.Expr:
    """uint8x16 -> int32x4."""
    halves = V.intrinsic("uint16x8", "llvm.aarch64.neon.uaddlp.v8i16.v16i8", counts)
    return V.bits("int32x4", V.intrinsic("uint32x4", "llvm.aarch64.neon.uaddlp.v4i32.v8i16", halves))


def _dot_ones(total: V.Expr, counts: V.Expr) -> V.Expr:
    """total + widen(counts), by one `udot` a register."""
    ones, counts, total = V.bits("uint8x16", V.splat(0x01010101, 4)), V.let(counts), V.let(total)
    return V.concat([
        V.intrinsic(
            "int32x4", "llvm.aarch64.neon.udot.v4i32.v16i8", V.part(total, q, 4), V.part(counts, 4 * q, 16), ones
        )
        for q in _QUARTERS
    ])  # fmt: skip
