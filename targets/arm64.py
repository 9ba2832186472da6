"""64-bit ARM Linux and Android: int8 matrix products, dot products or plain NEON in one artifact, chosen by HWCAP."""

from __future__ import annotations

from edgeq.targets.isa import Isa
from edgeq.targets.target import Target

TRIPLE = "aarch64-linux-gnu"


def _isa(name: str, dot: str, gemm_rows: int, features: tuple[str, ...], panel_quads: int = 1) -> Isa:
    """A variant on top of ARMv8.0 with NEON: 32 registers of 4 floats hold 4 accumulators of 16 and their operands.

    LLVM may hoist constants out of loops: there is room for them (the softmax loops are 18 % shorter). Register
    x18 is the platform's on Android, which keeps its shadow call stack there: no kernel may touch it.
    """
    attributes = tuple(f"+{feature}" for feature in ("neon", "reserve-x18", *features))
    return Isa(
        name, TRIPLE, "generic", attributes, dot, gemm_rows, features,
        accumulators=4, half=True, by_lane=True, panel_quads=panel_quads,
    )  # fmt: skip


I8MM = _isa("i8mm", "smmla", 8, ("dotprod", "i8mm"), panel_quads=2)
DOTPROD = _isa("dotprod", "sdot", 8, ("dotprod",))
NEON = _isa("neon", "smlal", 4, ())

TARGET = Target(
    name="arm64",
    zig_triple="aarch64-linux-gnu.2.28",
    static_triple="aarch64-linux-musl",
    isas=(I8MM, DOTPROD, NEON),
    about="64-bit ARM Linux, glibc 2.28 or newer, and Android; i8mm, dotprod or NEON, chosen when loaded",
    machines=("aarch64", "arm64"),
    aliases=("arm64-v8a", "android"),
)
