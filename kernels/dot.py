"""The integer dot product of x86 and of any CPU: 16 rows x 4 k of unsigned codes times int8 (ARM's: `dot_arm`).

`accumulate` adds, in every lane, the four products of a weight vector's lane (codes, low byte first) with one quad of
activations. All variants are exact, so that integer results are equal bit for bit:

| `isa.dot` | how | why it cannot overflow |
|---|---|---|
| `vnni512` | `vpdpbusd` | 32-bit accumulation |
| `avx2`, 4 bits | `vpmaddubsw` summed in int16 for up to 8 quads, then `vpmaddwd` by ones | 8 * 2 * 15 * 127 < 2**15 |
| `avx2`, 8 bits | even and odd bytes widened to int16, `vpmaddwd` of each | `vpmaddubsw` saturates: 2 * 255 * 127 |
| `generic` | shifts, masks and 32-bit multiplies | plain int32 arithmetic |
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.errors import UnsupportedError
from edgeq.kernels import vector as V
from edgeq.targets.isa import Isa

_INT16_QUADS = 8  # 4-bit products of this many quads add up inside int16
_NIBBLES, _BYTES = 0x0F0F0F0F, 0x00FF00FF


def unpack(bits: int, vector: V.Expr) -> list[V.Expr]:
    """int32x16 of a stored 64-byte vector -> code vectors: one at 8 bits; low, then high nibbles at 4 bits."""
    if bits == 8:
        return [V.let(vector)]
    vector, mask = V.let(vector), V.splat(_NIBBLES)
    return [V.let(vector & mask), V.let((vector >> V.splat(4)) & mask)]


def accumulate(isa: Isa, bits: int, acc: V.Reg, weights: Sequence[V.Expr], quads: Sequence[V.Expr]) -> None:
    """`acc[row] += sum over quads of codes[row] . activations`; raises UnsupportedError for an unknown `isa.dot`.

    acc: int32x16; weights: int32x16 of 4 codes each; quads: int32 scalars of 4 int8 each, one a weight vector.
    """
    kind = (isa.dot, bits) if isa.dot == "avx2" else isa.dot
    if kind not in _DOTS:
        raise UnsupportedError(f"no integer dot product {isa.dot!r} at {bits} bits (ISA {isa.name})")
    _DOTS[kind](acc, list(zip(weights, quads, strict=True)))


def small_product(isa: Isa, a: V.Expr, b: V.Expr) -> V.Expr:
    """a * b, int32x16, exact when both fit in 16 signed bits: `vpmaddwd` costs half of a 32-bit multiply.

    The upper half of a lane of `a` must be zero (a >= 0), so that only the lower halves' product counts.
    """
    if isa.dot == "generic":
        return a * b
    if isa.dot == "vnni512":
        words = (V.bits("int16x32", a), V.bits("int16x32", b))
        return V.intrinsic("int32x16", "llvm.x86.avx512.pmaddw.d.512", *words)
    halves = [[V.bits("int16x16", V.part(x, start, 8)) for x in (a, b)] for start in (0, 8)]
    return V.concat([V.intrinsic("int32x8", "llvm.x86.avx2.pmadd.wd", *words) for words in halves])


_Pairs = list[tuple[V.Expr, V.Expr]]


def _vnni(acc: V.Reg, pairs: _Pairs) -> None:
    for weights, quad in pairs:
        codes, values = V.bits("uint8x64", weights), V.bits("int8x64", V.splat(quad))
        acc.set(V.intrinsic("int32x16", "llvm.x86.avx512.vpdpbusd.512", acc.v, codes, values))


def _avx2_nibbles(acc: V.Reg, pairs: _Pairs) -> None:
    halves = [_avx2_nibbles_half(pairs, start) for start in (0, 8)]
    acc.set(acc.v + V.concat(halves))


def _avx2_nibbles_half(pairs: _Pairs, start: int) -> V.Expr:
    """int32x8 sums of 8 rows."""
    total = None
    for first in range(0, len(pairs), _INT16_QUADS):
        products = [_maddubs(w, a, start) for w, a in pairs[first : first + _INT16_QUADS]]
        words = products[0]
        for p in products[1:]:
            words = words + p
        sums = V.intrinsic("int32x8", "llvm.x86.avx2.pmadd.wd", words, V.bits("int16x16", V.splat(0x00010001, 8)))
        total = sums if total is None else total + sums
    return V.let(total)


def _maddubs(weights: V.Expr, quad: V.Expr, start: int) -> V.Expr:
    codes = V.bits("uint8x32", V.part(weights, start, 8))
    return V.intrinsic("int16x16", "llvm.x86.avx2.pmadd.ub.sw", codes, V.bits("int8x32", V.splat(quad, 8)))


def _avx2_bytes(acc: V.Reg, pairs: _Pairs) -> None:
    for weights, quad in pairs:
        values = V.let(V.bits("int16x16", V.splat(quad, 8)))
        shift = V.cast("int16", V.splat(8))
        odd = V.let(values >> shift)
        even = V.let((values << shift) >> shift)
        halves = [_maddwd(V.part(weights, start, 8), even, odd) for start in (0, 8)]
        acc.set(acc.v + V.concat(halves))


def _maddwd(weights: V.Expr, even: V.Expr, odd: V.Expr) -> V.Expr:
    """int32x8 sums of 8 rows; bytes 0 and 2 of each lane are `even`, 1 and 3 `odd`."""
    low, high = weights & V.splat(_BYTES, 8), (weights >> V.splat(8, 8)) & V.splat(_BYTES, 8)
    terms = [(V.bits("int16x16", low), even), (V.bits("int16x16", high), odd)]
    sums = [V.intrinsic("int32x8", "llvm.x86.avx2.pmadd.wd", words, values) for words, values in terms]
    return V.let(sums[0] + sums[1])


def _generic(acc: V.Reg, pairs: _Pairs) -> None:
    byte, top = V.splat(0xFF), V.i32(24)
    for weights, quad in pairs:
        for k in range(4):
            value = V.splat((quad << V.i32(24 - 8 * k)) >> top)
            acc.set(acc.v + ((weights >> V.splat(8 * k)) & byte) * value)


_DOTS = {"vnni512": _vnni, ("avx2", 4): _avx2_nibbles, ("avx2", 8): _avx2_bytes, "generic": _generic}
