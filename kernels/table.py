"""Tables of 16 bytes looked up by 64 codes at once: one shuffle where the CPU has it, multiplexers elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.kernels import vector as V
from edgeq.targets.isa import Isa

_SHUFFLES = {"vnni512": (64, "llvm.x86.avx512.pshuf.b.512"), "avx2": (32, "llvm.x86.avx2.pshuf.b")}
_ARM = (16, "llvm.aarch64.neon.tbl1.v16i8")


def lookup(isa: Isa, codes: V.Expr, table: Sequence[int]) -> V.Expr:
    """int32x16 of 64 codes 0..15, a byte each -> `table[code]` (bytes 0..255) in every byte; codes must be fixed."""
    if isa.dot == "generic":
        return _multiplexed(codes, table)
    width, name = _SHUFFLES.get(isa.dot, _ARM)
    lanes = width // 4
    held = V.bits(f"int8x{width}", V.concat([_words(table)] * (width // 16)) if width > 16 else _words(table))
    found = []
    for start in range(0, V.LANES, lanes):
        part = V.bits(f"int8x{width}", V.part(codes, start, lanes) if lanes < V.LANES else codes)
        found.append(V.bits(f"int32x{lanes}", V.intrinsic(f"int8x{width}", name, held, part)))
    return V.concat(found) if len(found) > 1 else found[0]


def _words(table: Sequence[int]) -> V.Expr:
    """The table as int32x4."""
    words = [int.from_bytes(bytes(table[i : i + 4]), "little", signed=True) for i in range(0, 16, 4)]
    return V.concat([V.i32(word) for word in words])


def _multiplexed(codes: V.Expr, table: Sequence[int]) -> V.Expr:
    """Halves of the table chosen by one bit of all codes after the other."""
    ones = V.splat(0x01010101)
    held = [V.splat(int.from_bytes(bytes([entry] * 4), "little", signed=True)) for entry in table]
    for bit in range(4):
        chosen = V.let((codes >> V.splat(bit)) & ones)
        for shift in (1, 2, 4):  # a bit to its whole byte; a product by 255 would overflow
            chosen = V.let(chosen | (chosen << V.splat(shift)))
        held = [V.let(a ^ ((a ^ b) & chosen)) for a, b in zip(held[::2], held[1::2], strict=True)]
    return held[0]
