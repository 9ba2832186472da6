"""What ARM's integer dot products work on: 16 codes in a register, and the instructions by name."""

from __future__ import annotations

from edgeq.kernels import vector as V
from edgeq.kernels.codes import byte_levels
from edgeq.quant.format import WeightFormat
from edgeq.targets.isa import Isa

SIGNED = 127  # largest code that every dot product takes as a signed byte


def offset(isa: Isa, fmt: WeightFormat) -> int:
    """What `codes` takes off bytes where some are too large for a dot product that wants them signed, else 0.

    Of a table its zero point, so that it holds the levels themselves; of 8-bit codes 128, unless there is `usmmla`.
    """
    if byte_levels(fmt)[-1] == fmt.codes - 1:
        return 128 if fmt.bits == 8 and isa.dot != "smmla" else 0
    return (fmt.zero_point or 0) if max(byte_levels(fmt)) > SIGNED else 0


def unsigned(isa: Isa, fmt: WeightFormat) -> bool:
    """Whether code vectors are to be taken as unsigned bytes."""
    return max(byte_levels(fmt)) - offset(isa, fmt) > SIGNED


def smlal_quads(isa: Isa, fmt: WeightFormat) -> int:
    """Quads whose products add up inside int16: 17 of 4-bit codes, 2 of signed bytes."""
    less = offset(isa, fmt)
    return (2**15 - 1) // (127 * max(abs(level - less) for level in byte_levels(fmt)))


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
