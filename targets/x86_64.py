"""x86-64 Linux: AVX-512 VNNI, AVX2 and a portable variant in one artifact, chosen by cpuid when it is loaded."""

from __future__ import annotations

from edgeq.targets.isa import Isa
from edgeq.targets.target import Target

TRIPLE = "x86_64-linux-gnu"



def _isa(name: str, dot: str, gemm_rows: int, needs: tuple[str, ...]) -> Isa:
    """A variant whose code uses exactly the features that the loader checks for, on top of plain x86-64."""
    return Isa(name, TRIPLE, "x86-64", tuple(f"+{feature}" for feature in needs), dot, gemm_rows, needs)


AVX512_VNNI = _isa(
    "avx512vnni", "vnni512", 8, ("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni", "fma", "f16c")
)
AVX2 = _isa("avx2", "avx2", 4, ("avx2", "fma", "f16c"))
PORTABLE = _isa("portable", "generic", 4, ())

TARGET = Target(
    name="x86-64",
    zig_triple="x86_64-linux-gnu.2.28",
    isas=(AVX512_VNNI, AVX2, PORTABLE),
    about="x86-64 Linux, glibc 2.28 or newer; AVX-512 VNNI, AVX2 or portable, chosen when loaded",
)
