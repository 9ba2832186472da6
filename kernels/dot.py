"""The integer dot product of x86 and of any CPU: 16 rows x 4 k of unsigned codes times int8 (ARM's: `dot_arm`).

`accumulate` adds, in every lane, the four products of a weight vector's lane (codes, low byte first) with one quad of
activations. All variants are exact, so that integer results are equal bit for bit:

| `isa.dot` | how | why it cannot overflow |
|---|---|---|
| `vnni512` | `vpdpbusd` | 32-bit accumulation |
| `avx2`, codes up to 129 | `vpmaddubsw` summed in int16, then `vpmaddwd` by ones | 4 bits: 8 * 2 * 15 * 127 < 2**15 |
| `avx2`, larger | even and odd bytes widened to int16, `vpmaddwd` of each | `vpmaddubsw` saturates: 2 * 255 * 127 |
| `generic` | shifts, masks and 32-bit multiplies | plain int32 arithmetic |
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.errors import UnsupportedError
from edgeq.kernels import vector as V
from edgeq.targets.isa import Isa

_BYTES = 0x00FF00FF


def int16_quads(largest: int) -> int:
    """Quads whose `vpmaddubsw` products with codes up to `largest` add up inside int16; 0: not even one."""
    return (2**15 - 1) // (2 * largest * 127)


def accumulate(isa: Isa, largest: int, acc: V.Reg, weights: Sequence[V.Expr], quads: Sequence[V.Expr]) -> None:
    """`acc[row] += sum over quads of codes[row] . activations`; raises UnsupportedError for an unknown `isa.dot`.

    largest: code. acc: int32x16; weights: int32x16 of 4 codes each; quads: int32 scalars of 4 int8 each, one a vector.
    """
    if isa.dot not in _DOTS:
        raise UnsupportedError(f"no integer dot product {isa.dot!r} (ISA {isa.name})")
    _DOTS[isa.dot](acc, list(zip(weights, quads, strict=True)), largest)


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


def _vnni(acc: V.Reg, pairs: _Pairs, largest: int) -> None:
    for weights, quad in pairs:
        codes, values = V.bits("uint8x64", weights), V.bits("int8x64", V.splat(quad))
        acc.set(V.intrinsic("int32x16", "llvm.x86.avx512.vpdpbusd.512", acc.v, codes, values))


def _avx2(acc: V.Reg, pairs: _Pairs, largest: int) -> None:
    if room := int16_quads(largest):
        acc.set(acc.v + V.concat([_avx2_small_half(pairs, start, room) for start in (0, 8)]))
    else:
        _avx2_bytes(acc, pairs)


def _avx2_small_half(pairs: _Pairs, start: int, room: int) -> V.Expr:
    """int32x8 sums of 8 rows, as many quads at a time as there is room for."""
    total = None
    for first in range(0, len(pairs), room):
        products = [_maddubs(w, a, start) for w, a in pairs[first : first + room]]
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


def _generic(acc: V.Reg, pairs: _Pairs, largest: int) -> None:
    byte, top = V.splat(0xFF), V.i32(24)
    for weights, quad in pairs:
        for k in range(4):
            value = V.splat((quad << V.i32(24 - 8 * k)) >> top)
            acc.set(acc.v + ((weights >> V.splat(8 * k)) & byte) * value)


_DOTS = {"vnni512": _vnni, "avx2": _avx2, "generic": _generic}
