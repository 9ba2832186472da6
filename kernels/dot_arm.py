"""What ARM's integer dot products work on: 16 codes in a register, and the instructions by name."""

from __future__ import annotations

from edgeq.kernels import vector as V
from edgeq.targets.isa import Isa

SMLAL_QUADS = {4: 16, 8: 2}  # products that add up inside int16: 16 * 15 * 127, 2 * 128 * 127
_SIGNS = -0x7F7F7F80  # 0x80808080
_NIBBLES = 0x0F0F0F0F


def offset(isa: Isa, bits: int) -> int:
    """What `codes` takes off the stored codes: 128 where a dot product wants bytes signed, else 0."""
    return 128 if bits == 8 and isa.dot != "smmla" else 0


def codes(isa: Isa, bits: int, stored: V.Expr) -> list[V.Expr]:
    """int32x4 of stored bytes -> code vectors: one at 8 bits; low, then high nibbles at 4 bits."""
    stored = V.let(stored)
    if bits == 8:
        return [V.let(stored ^ V.splat(_SIGNS, 4)) if offset(isa, bits) else stored]
    four = V.splat(V.cast("uint8", V.i32(4)), 16)
    high = V.bits("int32x4", V.bits("uint8x16", stored) >> four)
    return [V.let(stored & V.splat(_NIBBLES, 4)), V.let(high)]


def accumulate(name: str, total: V.Expr, codes: V.Expr, values: V.Expr) -> V.Expr:
    """`sdot`, `usdot`, `smmla` or `usmmla` of int32x4 `total`, 16 codes (int32x4) and 16 int8 activations."""
    kind = "uint8x16" if name.startswith("u") else "int8x16"
    return V.intrinsic("int32x4", f"llvm.aarch64.neon.{name}.v4i32.v16i8", total, V.bits(kind, codes), values)


def long_product(a: V.Expr, b: V.Expr) -> V.Expr:
    """`smull`: int8x8 times int8x8, int16x8."""
    return V.intrinsic("int16x8", "llvm.aarch64.neon.smull.v8i16", a, b)


def add_pairs(words: V.Expr) -> V.Expr:
    """`saddlp`: int16x8 -> int32x4, neighbours added."""
    return V.intrinsic("int32x4", "llvm.aarch64.neon.saddlp.v4i32.v8i16", words)


def join_pairs(a: V.Expr, b: V.Expr) -> V.Expr:
    """`addp`: neighbours of a, then of b, added; int32x4."""
    return V.intrinsic("int32x4", "llvm.aarch64.neon.addp.v4i32", a, b)
