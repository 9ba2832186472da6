"""x86-64 Linux: AVX-512 VNNI, AVX2 and a portable variant in one artifact, chosen by cpuid when it is loaded."""

from __future__ import annotations

from dataclasses import replace

from edgeq.targets.isa import Isa
from edgeq.targets.target import Target

TRIPLE = "x86_64-linux-gnu"


# LLVM would hoist an activation's constants out of whole loop nests and spill the accumulators for them: without that,
# prefill attention gains 36 % and a gated GEMV 23 %.
_OPTIONS = ("-disable-machine-licm",)


def _isa(name: str, dot: str, gemm_rows: int, needs: tuple[str, ...], accumulators: int) -> Isa:
    """A variant whose code uses exactly the features that the loader checks for, on top of plain x86-64."""
    attributes = tuple(f"+{feature}" for feature in needs)
    vector = accumulators > 1
    return Isa(
        name, TRIPLE, "x86-64", attributes, dot, gemm_rows, needs, accumulators,
        half=vector, prefetch=vector, llvm_options=_OPTIONS,
    )  # fmt: skip


AVX512_VNNI = _isa(
    "avx512vnni", "vnni512", 8, ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni", "fma", "f16c"), 16
)
# Ice Lake and Zen 4 on: counts the bits of 16 words, looks 64 bytes up in 64 others, in an instruction.
AVX512_VPOPCNT = replace(
    AVX512_VNNI,
    name="avx512vpopcnt",
    mattr=(*AVX512_VNNI.mattr, "+avx512vpopcntdq", "+avx512vbmi"),
    needs=(*AVX512_VNNI.needs, "avx512vpopcntdq", "avx512vbmi"),
    base=AVX512_VNNI.name,
    gains=("binary", "attend_signs.attend_signs", "lut"),
)
AVX2 = _isa("avx2", "avx2", 4, ("avx2", "fma", "f16c"), 4)
PORTABLE = _isa("portable", "generic", 4, (), 1)

TARGET = Target(
    name="x86-64",
    zig_triple="x86_64-linux-gnu.2.28",
    static_triple="x86_64-linux-musl",
    isas=(AVX512_VNNI, AVX2, PORTABLE),
    about="x86-64 Linux, glibc 2.28 or newer; AVX-512 VNNI, AVX2 or portable, chosen when loaded",
    machines=("x86_64", "AMD64"),
    aliases=("amd64", "x64"),
    partial=(AVX512_VPOPCNT,),
)
