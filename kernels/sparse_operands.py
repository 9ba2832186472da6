"""What the inner loops of a 2:4 sparse linear read: steps of a group, places and codes of a field, activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group
from edgeq.quant.format import VECTOR_BYTES, WeightFormat
from edgeq.quant.sparse import FIELD, STEP
from edgeq.targets.isa import Isa

AHEAD = 4096  # bytes of a GEMV's software prefetch, as in linear_int_tile
PANEL_QUADS = 4  # of a row that lie together in a GEMM's activations
_PLACES, _UPPER = 0x03030303, -0x0F0F0F10  # bytes 3, 0xF0
_QUADS = (0x04040000, 0x0C0C0808)  # bytes before the quads of even and odd fields in 16 activations
_UNROLLED = 4  # steps of a group; beyond, a loop


@dataclass(frozen=True)
class Operands:
    """The kernel's inputs. Activation rows are interleaved 16 k at a time: `[K/16][rows][16]`."""

    isa: Isa
    fmt: WeightFormat
    K: int
    rows: int
    weights: V.Memory  # uint8
    q: V.Memory  # int32: quads
    first: V.Expr  # index of the rows' first quad
    ahead: int = AHEAD  # bytes of software prefetch; 0: none

    @property
    def bits(self) -> int:
        """Of a code."""
        return self.fmt.bits

    def sixteen(self, number: V.Expr, row: V.Expr | int) -> V.Expr:
        """int32x4: the number-th 16 activations of a row."""
        row = V.i32(row) if isinstance(row, int) else row
        return self.q.vector(self.first + (number * V.i32(self.rows) + row) * V.i32(4), 4)

    def steps(self, group: Group, emit: Callable[[V.Expr, V.Expr, int], None]) -> None:
        """emit(byte offset int64, number of the first 16 activations, fields) for every step of a group."""
        size = (1 + STEP // FIELD * self.bits // 8) * VECTOR_BYTES

        def one(s: V.Expr, fields: int) -> None:
            at = V.let(group.vectors + V.i64(s) * V.i64(size))
            emit(at, V.let((group.start >> V.i32(4)) + s * V.i32(2)), fields)

        whole, rest = divmod(group.length, STEP)
        if whole > _UNROLLED:
            with V.loop(0, whole) as s:
                one(s, STEP // FIELD)
        else:
            for s in range(whole):
                one(V.i32(s), STEP // FIELD)
        if rest:
            one(V.i32(whole), rest // FIELD)

    def prefetch(self, at: V.Expr, fields: int) -> None:
        """Ask for the step that lies `ahead` bytes after the one at byte `at`, where that pays."""
        if self.ahead and self.isa.prefetch:
            for line in range(1 + fields * self.bits // 8):
                self.weights.prefetch(at + V.i64(self.ahead + line * VECTOR_BYTES))

    def indexes(self, at: V.Expr, field: int, start: int, lanes: int) -> V.Expr:
        """int32x`lanes` of outputs start, ...: which of 16 activations each kept code of a field meets, a byte each."""
        stored = self.weights.view(at + V.i64(start * 4), f"int32x{lanes}")
        moved = stored >> V.splat(2 * field, lanes) if field else stored
        return V.let((moved & V.splat(_PLACES, lanes)) | V.splat(_QUADS[field % 2], lanes))

    def codes(self, at: V.Expr, field: int, fields: int, start: int, lanes: int) -> V.Expr:
        """int32x`lanes` of outputs start, ...: the field's codes, a signed byte each; at 4 bits 16 times the codes."""
        low = self.bits == 8 or field < fields // 2
        number = field if low else field - fields // 2
        stored = self.weights.view(at + V.i64((1 + number) * VECTOR_BYTES + start * 4), f"int32x{lanes}")
        if self.bits == 8:
            return V.let(stored)
        return V.let((stored << V.splat(4, lanes) if low else stored) & V.splat(_UPPER, lanes))

    def scale(self, stored: V.Expr) -> V.Expr:
        """float32 factors of sums of `codes` times activations, from stored float16 scales."""
        scale = V.from_half(self.isa, stored)
        return V.let(scale if self.bits == 8 else scale * V.splat(1 / 16, V.lanes_of(stored)))
