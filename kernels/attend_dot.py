"""Integer dot products of attention: codes of probabilities, 0..128, by int8 values; four keys in a lane.

| ISA | how | why it is exact |
|---|---|---|
| avx512vnni | `vpdpbusd` | 32-bit accumulation |
| avx2 | `vpmaddubsw`, `vpmaddwd` by ones | 2 * 128 * 127 < 2^15 |
| portable | shifts and 32-bit products | |
| i8mm | `usdot` by lane | |
| dotprod, neon | `sdot` by lane; `smull`, `saddlp`, `addp`: of signed bytes: tables are negated | 128 * 127 < 2^15 |
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.kernels import dot_arm
from edgeq.kernels import vector as V
from edgeq.targets.isa import Isa


def negated(isa: Isa) -> bool:
    """Whether codes are signed bytes here, so that a level of 128 must be given as -128, and sums come out negated."""
    return isa.dot in ("sdot", "smlal")


def table(isa: Isa, levels: Sequence[int]) -> list[int]:
    """A plane's levels 0..128 as the bytes that `accumulate` takes."""
    return [-level & 255 for level in levels] if negated(isa) else list(levels)


def accumulate(isa: Isa, acc: V.Reg, codes: V.Expr, quad: V.Expr) -> None:
    """`acc[lane] += sum of 4 codes of the lane * values`; codes int32x16 (fixed), quad: int32x16 of equal lanes."""
    if isa.dot == "vnni512":
        words = V.bits("uint8x64", codes), V.bits("int8x64", quad)
        acc.set(V.intrinsic("int32x16", "llvm.x86.avx512.vpdpbusd.512", acc.v, *words))
    elif isa.dot == "generic":
        _by_shifts(acc, codes, quad)
    elif isa.dot == "avx2":
        acc.set(acc.v + V.concat([_maddubs(V.part(codes, at, 8), V.part(quad, at, 8)) for at in (0, 8)]))
    else:
        parts = [[V.part(x, at, 4) for x in (acc.v, codes, quad)] for at in range(0, V.LANES, 4)]
        acc.set(V.concat([_arm(isa, *part) for part in parts]))


def _by_shifts(acc: V.Reg, codes: V.Expr, quad: V.Expr) -> None:
    for k in range(4):
        value = (quad << V.splat(24 - 8 * k)) >> V.splat(24)
        acc.set(acc.v + ((codes >> V.splat(8 * k)) & V.splat(255)) * value)


def _maddubs(codes: V.Expr, quad: V.Expr) -> V.Expr:
    words = V.bits("uint8x32", codes), V.bits("int8x32", quad)
    pairs = V.intrinsic("int16x16", "llvm.x86.avx2.pmadd.ub.sw", *words)
    ones = V.bits("int16x16", V.splat(0x00010001, 8))
    return V.intrinsic("int32x8", "llvm.x86.avx2.pmadd.wd", pairs, ones)


def _arm(isa: Isa, acc: V.Expr, codes: V.Expr, quad: V.Expr) -> V.Expr:
    """Of 4 lanes."""
    if isa.dot != "smlal":
        return dot_arm.accumulate("usdot" if isa.dot == "smmla" else "sdot", acc, codes, V.bits("int8x16", quad))
    a, b = V.bits("int8x16", codes), V.bits("int8x16", quad)
    halves = [dot_arm.long_product(V.part(a, at, 8), V.part(b, at, 8)) for at in (0, 8)]
    return acc + dot_arm.join_pairs(*(dot_arm.add_pairs(half) for half in halves))
