"""Integer products of a block of keys or values: 16 lanes x 4 small codes times one quad of 8-bit numbers.

Codes are 0..15, so that they fit a signed byte as well as an unsigned one. Keys are multiplied by signed numbers
(queries, -127..127), values by unsigned ones (softmax weights, 0..255). Every variant is exact.

| `isa.dot` | keys | values |
|---|---|---|
| `vnni512` | `vpdpbusd` codes (u8) x query (s8) | `vpdpbusd` weights (u8) x codes (s8) |
| `avx2` | `vpmaddubsw` summed in int16 (4 quads: 4 * 2 * 15 * 255 < 2**15), then `vpmaddwd` by ones | the same |
| `sdot`, `smmla` | `sdot` | `udot` |
| `smlal` | `smull`, pairs added | `umull`, pairs added |
| `generic` | shifts, masks, 32-bit multiplies | the same |
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.errors import UnsupportedError
from edgeq.kernels import dot_arm
from edgeq.kernels import vector as V
from edgeq.targets.isa import Isa

_INT16_QUADS = 4
_Pairs = Sequence[tuple[V.Expr, V.Expr]]


def unpack(bits: int, stored: V.Expr) -> list[V.Expr]:
    """int32x16 of a stored vector -> its 8 / bits code vectors."""
    stored, mask = V.let(stored), V.splat({4: 0x0F0F0F0F, 2: 0x03030303}[bits])
    shifted = (stored >> V.splat(shift) if shift else stored for shift in range(0, 8, bits))
    return [V.let(x & mask) for x in shifted]


def accumulate(isa: Isa, acc: V.Reg, codes: Sequence[V.Expr], quads: Sequence[V.Expr], signed: bool) -> None:
    """`acc[lane] += sum over quads of codes[lane] . quad`; quads: int32 scalars of 4 bytes, `signed` or not.

    Raises UnsupportedError for an unknown `isa.dot`.
    """
    if isa.dot not in _DOTS:
        raise UnsupportedError(f"no product of cache codes for {isa.dot!r} (ISA {isa.name})")
    _DOTS[isa.dot](acc, list(zip(codes, quads, strict=True)), signed)


def _vnni(acc: V.Reg, pairs: _Pairs, signed: bool) -> None:
    for codes, quad in pairs:
        bytes_ = [codes, V.splat(quad)] if signed else [V.splat(quad), codes]
        unsigned, other = V.bits("uint8x64", bytes_[0]), V.bits("int8x64", bytes_[1])
        acc.set(V.intrinsic("int32x16", "llvm.x86.avx512.vpdpbusd.512", acc.v, unsigned, other))


def _avx2(acc: V.Reg, pairs: _Pairs, signed: bool) -> None:
    for first in range(0, len(pairs), _INT16_QUADS):
        some = pairs[first : first + _INT16_QUADS]
        acc.set(acc.v + V.concat([_avx2_half(some, start, signed) for start in (0, 8)]))


def _avx2_half(pairs: _Pairs, start: int, signed: bool) -> V.Expr:
    words = None
    for codes, quad in pairs:
        part, four = V.part(codes, start, 8), V.splat(quad, 8)
        unsigned, other = (part, four) if signed else (four, part)
        operands = (V.bits("uint8x32", unsigned), V.bits("int8x32", other))
        product = V.intrinsic("int16x16", "llvm.x86.avx2.pmadd.ub.sw", *operands)
        words = product if words is None else words + product
    ones = V.bits("int16x16", V.splat(0x00010001, 8))
    return V.let(V.intrinsic("int32x8", "llvm.x86.avx2.pmadd.wd", words, ones))


def _arm_dot(acc: V.Reg, pairs: _Pairs, signed: bool) -> None:
    kind, name = ("int8x16", "sdot") if signed else ("uint8x16", "udot")
    sums = [V.part(acc.v, i, 4) for i in range(0, 16, 4)]
    for codes, quad in pairs:
        four = V.bits(kind, V.splat(quad, 4))
        for i, total in enumerate(sums):
            part = V.bits(kind, V.part(codes, 4 * i, 4))
            sums[i] = V.let(V.intrinsic("int32x4", f"llvm.aarch64.neon.{name}.v4i32.v16i8", total, part, four))
    acc.set(V.concat(sums))


def _arm_long(acc: V.Reg, pairs: _Pairs, signed: bool) -> None:
    kind, name = ("int8x8", "smull") if signed else ("uint8x8", "umull")
    for codes, quad in pairs:
        two = V.bits(kind, V.splat(quad, 2))
        parts = [V.bits(kind, V.part(codes, i, 2)) for i in range(0, 16, 2)]
        words = [V.intrinsic("int16x8", f"llvm.aarch64.neon.{name}.v8i16", part, two) for part in parts]
        pairs_ = [V.let(dot_arm.add_pairs(w)) for w in words]
        sums = [V.let(dot_arm.join_pairs(a, b)) for a, b in zip(pairs_[::2], pairs_[1::2], strict=True)]
        acc.set(acc.v + V.concat(sums))


def _generic(acc: V.Reg, pairs: _Pairs, signed: bool) -> None:
    byte, top = V.splat(0xFF), V.i32(24)
    for codes, quad in pairs:
        for k in range(4):
            value = (quad << V.i32(24 - 8 * k)) >> top if signed else (quad >> V.i32(8 * k)) & V.i32(0xFF)
            acc.set(acc.v + ((codes >> V.splat(8 * k)) & byte) * V.splat(V.let(value)))


_DOTS = {
    "vnni512": _vnni, "avx2": _avx2, "sdot": _arm_dot, "smmla": _arm_dot, "smlal": _arm_long, "generic": _generic,
}  # fmt: skip
