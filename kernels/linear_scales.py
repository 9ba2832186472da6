"""The numbers beside a group's codes, as floats: fp16 scales, or bytes that are exponents (E8M0); fp16 offsets."""

from __future__ import annotations

from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group
from edgeq.quant.format import WeightFormat
from edgeq.targets.isa import Isa


def scales(isa: Isa, fmt: WeightFormat, weights: V.Memory, group: Group, first: int = 0, lanes: int = 16) -> V.Expr:
    """float32 scales of outputs first .. first + lanes - 1 of a group's tile, lanes 4 or 16; weights: uint8."""
    if fmt.meaning.scale_bytes == 1:
        return _powers(weights.vector(group.scale + V.i64(first), lanes))
    return _halves(isa, weights, group.scale, first, lanes)


def offsets(isa: Isa, weights: V.Memory, group: Group, first: int = 0, lanes: int = 16) -> V.Expr:
    """float32 offsets of kind `min`, as `scales`."""
    return _halves(isa, weights, group.zero, first, lanes)


def _halves(isa: Isa, weights: V.Memory, at: V.Expr, first: int, lanes: int) -> V.Expr:
    if lanes == V.LANES:
        return V.from_half(isa, weights.view(at, "float16x16"))
    pair = weights.view(at + V.i64(first // 8 * 8 * 2), "float16x8")  # neighbours share a load
    return V.from_half(isa, V.part(pair, first % 8, lanes))


def _powers(stored: V.Expr) -> V.Expr:
    """What a level, which counts halves, is worth: byte e is 2^(e - 128), and 0 and 1 are nothing (no subnormals).

    Rows that only pad a tile have zero bytes: they must not become infinite.
    """
    lanes = V.lanes_of(stored)
    exponent = V.maximum(V.cast("int32", stored), V.splat(1, lanes)) - V.splat(1, lanes)
    return V.bits(f"float32x{lanes}", exponent << V.splat(23, lanes))
