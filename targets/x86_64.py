"""x86-64 Linux: AVX-512 VNNI, AVX2 and a portable variant in one artifact, chosen by cpuid when it is loaded."""

from __future__ import annotations

from edgeq.targets.isa import Isa
from edgeq.targets.target import Target

TRIPLE = "x86_64-linux-gnu"

AVX512_VNNI = Isa(
    name="avx512vnni",
    triple=TRIPLE,
    mcpu="cascadelake",
    mattr=(),
    dot="vnni512",
    gemm_rows=8,
    needs=("avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512vnni", "fma", "f16c"),
)
AVX2 = Isa("avx2", TRIPLE, "haswell", (), "avx2", 4, ("avx2", "fma", "f16c"))
PORTABLE = Isa("portable", TRIPLE, "x86-64", (), "generic", 4, ())

TARGET = Target(
    name="x86-64",
    zig_triple="x86_64-linux-gnu.2.28",
    isas=(AVX512_VNNI, AVX2, PORTABLE),
    about="x86-64 Linux, glibc 2.28 or newer; AVX-512 VNNI, AVX2 or portable, chosen when loaded",
)
