"""Dot products of bit planes: 16 rows x 4 k of bytes 0 and 1, times int8, on every instruction set."""

from __future__ import annotations

from collections.abc import Sequence

from edgeq.kernels import dot, dot_arm
from edgeq.kernels import vector as V
from edgeq.targets.isa import Isa

ONES = 0x01010101
_PART = 4  # rows of an ARM register


def masks(stored: V.Expr, plane: int, fields: Sequence[V.Expr | int]) -> list[V.Expr]:
    """int32x16 of bytes 0 and 1 out of bytes of four 2-bit codes: bit `plane` of each field; plane 2: both bits set."""
    low = V.let(stored & (stored >> V.splat(1))) if plane == 2 else stored
    return [V.let((low >> V.splat(V.i32(f * 2) + V.i32(plane % 2))) & V.splat(ONES)) for f in fields]


def accumulate(isa: Isa, total: V.Expr, planes: Sequence[V.Expr], quads: Sequence[V.Expr]) -> V.Expr:
    """int32x16 `total` + sum over quads of plane[row] . activations; quads: int32 scalars of 4 int8 each."""
    if isa.dot in ("smmla", "sdot"):
        return V.concat([_arm(V.part(total, i, _PART), planes, quads, i) for i in range(0, V.LANES, _PART)])
    if isa.dot == "smlal":
        return V.concat([_neon(V.part(total, i, _PART), planes, quads, i) for i in range(0, V.LANES, _PART)])
    register = V.Reg("int32", total)
    dot.accumulate(isa, 4, register, planes, quads)  # 0 and 1 are codes of 4 bits
    return register.v


def _arm(total: V.Expr, planes: Sequence[V.Expr], quads: Sequence[V.Expr], first: int) -> V.Expr:
    """int32x4 by `sdot`."""
    for plane, quad in zip(planes, quads, strict=True):
        values = V.bits("int8x16", V.splat(quad, _PART))
        total = dot_arm.accumulate("sdot", total, V.part(plane, first, _PART), values)
    return total


def _neon(total: V.Expr, planes: Sequence[V.Expr], quads: Sequence[V.Expr], first: int) -> V.Expr:
    """int32x4 by `smull`: products of up to 128 quads would fit in int16."""
    words: list[V.Expr | None] = [None, None]
    for plane, quad in zip(planes, quads, strict=True):
        codes = V.let(V.bits("int8x16", V.part(plane, first, _PART)))
        values = V.let(V.bits("int8x16", V.splat(quad, _PART)))
        for i, held in enumerate(words):
            product = dot_arm.long_product(V.part(codes, 8 * i, 8), V.part(values, 8 * i, 8))
            words[i] = V.let(product if held is None else held + product)
    return total + dot_arm.join_pairs(*(dot_arm.add_pairs(w) for w in words))
