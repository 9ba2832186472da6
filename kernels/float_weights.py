"""Codes of a group as floats, 16 outputs in a vector: what each kind of format becomes before fma, exactly.

| format | of a weight | instructions |
|---|---|---|
| uniform, ternary: one field | shift it into the mantissa of 2**23, subtract 2**23 + zero point | 3 |
| 2 and 4 bits without stored zero points, AVX-512 | shift, `vpermps` of a table: it looks at 4 bits of a lane | 2 |
| signs | shift to the sign of 1 | 2 |
| fp8 | shift to sign and exponent, times 2**120 or 2**112, which restores the exponent and normalises subnormals | 4 |
| anything else | `codes.codes`, a few instructions for 4 weights; then as uniform, from bytes | 3 |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tvm import tirx

from edgeq.errors import UnsupportedError
from edgeq.kernels import vector as V
from edgeq.kernels.codes import byte_levels, codes
from edgeq.kernels.linear_groups import Group
from edgeq.quant.format import WeightFormat
from edgeq.quant.layout import Piece, Quad
from edgeq.targets.isa import Isa

if TYPE_CHECKING:
    from edgeq.kernels.linear_float_tile import Operands

QUAD = 4
FLOAT8 = {"e4m3": (4, 120), "e5m2": (3, 112)}  # how far a byte on top moves down, and the power of two that is missing
_INTEGER_FLOAT = 0x4B000000  # bits of 2**23: an integer below 2**23 in the mantissa makes the float 2**23 + integer
_ONE, _SIGN = 0x3F800000, -0x80000000


class Weights:
    """Decodes the vectors of one group."""

    def __init__(self, x: Operands, group: Group):
        self.x = x

    def step(self, piece: Piece, stored: Sequence[V.Expr]) -> Iterator[list[V.Expr]]:
        """float32x16 of k = 0 .. 3 of each quad of a step, in the order of `piece.quads`.

        stored: int32x16, one for each of `piece.reads`. Code is emitted as quads are taken.
        """
        for quad in piece.quads:
            (field,) = quad.fields
            yield [V.let(self._weight(stored[field.read], 8 * k, quad)) for k in range(QUAD)]

    def _weight(self, stored: V.Expr, byte: int, quad: Quad) -> V.Expr:
        """float32x16 of a quad's code in the byte whose lowest bit is bit `byte`."""
        raise NotImplementedError


def weights_of(x: Operands, group: Group) -> Weights:
    """The decoder of this format on this ISA. Raises UnsupportedError for several numbers a group, and for 2:4."""
    return _kind(x.isa, x.fmt)(x, group)


def check(fmt: WeightFormat) -> None:
    """Raise UnsupportedError for a format that has no decoder."""
    if fmt.meaning.numbers > 1 or fmt.meaning.sparse:
        raise UnsupportedError(f"{fmt}: only int8 activations have kernels (a8); embeddings have none")


def _kind(isa: Isa, fmt: WeightFormat) -> type[Weights]:
    check(fmt)
    if fmt.kind in FLOAT8:
        return _Floats8
    if fmt.kind == "binary":
        return _Signs
    if isa.dot == "vnni512" and fmt.zero_point is not None and fmt.planes in ((2,), (4,)):
        return _Looked
    plain = byte_levels(fmt) == tuple(range(fmt.codes)) and len(fmt.planes) == 1 and fmt.planes[0]
    return _Fields if plain else _Bytes


class _Fields(Weights):
    """A field is the code."""

    def __init__(self, x: Operands, group: Group):
        super().__init__(x, group)
        self.bias = V.let(self._bias(group))

    def _bias(self, group: Group) -> V.Expr:
        """2**23 + zero point: subtracting it from the bits 2**23 + code leaves the exact `code - zero`."""
        fmt = self.x.fmt
        if fmt.zero_point is not None or fmt.has_offsets:
            return V.splat(float(2**23 + (fmt.zero_point or 0)))
        zero = V.cast("int32", self.x.weights.vector(group.zero))
        return V.bits("float32x16", zero | V.splat(_INTEGER_FLOAT))

    def _weight(self, stored: V.Expr, byte: int, quad: Quad) -> V.Expr:
        (field,) = quad.fields
        return self._float((stored >> V.splat(byte + field.index * field.width)) & V.splat((1 << field.width) - 1))

    def _float(self, code: V.Expr) -> V.Expr:
        return V.bits("float32x16", code | V.splat(_INTEGER_FLOAT)) - self.bias


class _Bytes(_Fields):
    """Codes are put together, or looked up, as bytes; those of tables with their zero point added."""

    def step(self, piece: Piece, stored: Sequence[V.Expr]) -> Iterator[list[V.Expr]]:
        for quad in codes(self.x.isa, self.x.fmt, piece, stored):
            yield [V.let(self._float((quad >> V.splat(8 * k)) & V.splat(0xFF))) for k in range(QUAD)]


class _Looked(Weights):
    """A table of 16 floats, of shorter codes repeated: what lies above a code does not matter then."""

    def __init__(self, x: Operands, group: Group):
        super().__init__(x, group)
        fmt = x.fmt
        levels = fmt.levels or tuple(code - (fmt.zero_point or 0) for code in range(fmt.codes))
        entries = [*levels, *[0] * (2**fmt.bits - len(levels))] * (V.LANES >> fmt.bits)
        self.table = V.let(tirx.Shuffle([V.f32(float(e)) for e in entries], [V.i32(i) for i in range(V.LANES)]))

    def _weight(self, stored: V.Expr, byte: int, quad: Quad) -> V.Expr:
        (field,) = quad.fields
        at = stored >> V.splat(byte + field.index * field.width)
        return V.intrinsic("float32x16", "llvm.x86.avx512.permvar.sf.512", self.table, at)


class _Signs(Weights):
    """A bit is the sign: 1 is +1."""

    def _weight(self, stored: V.Expr, byte: int, quad: Quad) -> V.Expr:
        (field,) = quad.fields
        sign = (stored << V.splat(31 - byte - field.index)) & V.splat(_SIGN)
        return V.bits("float32x16", sign ^ V.splat(_ONE | _SIGN))


class _Floats8(Weights):
    """A byte is a float."""

    def _weight(self, stored: V.Expr, byte: int, quad: Quad) -> V.Expr:
        return float8(self.x.fmt, stored << V.splat(24 - byte))


def float8(fmt: WeightFormat, top: V.Expr) -> V.Expr:
    """float32 of lanes int32 whose top byte is a finite float of 8 bits, whatever is below it."""
    lanes, (down, power) = V.lanes_of(top), FLOAT8[fmt.kind]
    fields = (top >> V.splat(down, lanes)) & V.splat(_SIGN | 0x7F << (24 - down), lanes)
    return V.bits(f"float32x{lanes}", fields) * V.splat(2.0**power, lanes)
