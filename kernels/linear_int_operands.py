"""What the inner loops of an integer linear read."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.kernels import vector as V
from edgeq.kernels.codes import byte_levels
from edgeq.kernels.linear_groups import Group
from edgeq.quant.format import WeightFormat
from edgeq.quant.layout import Piece
from edgeq.targets.isa import Isa

AHEAD = 4096  # bytes of a GEMV's software prefetch: weights are one stream (1, 2, 8 KB: 2-8 % slower or equal)
LONG, LONG_AHEAD = 128, 8192  # groups of so many weights and more: 8 KB are 5-15 % faster than 4


def gemv_ahead(fmt: WeightFormat) -> int:
    """Bytes of a GEMV's software prefetch."""
    return LONG_AHEAD if fmt.group_size >= LONG else AHEAD


@dataclass(frozen=True)
class Operands:
    """The kernel's inputs. Activation rows are interleaved by quads (`[K/4][rows][4]`; by pairs of them where
    `isa.panel_quads` is 2: `[K/8][rows][2][4]`), corrections by groups."""

    isa: Isa
    fmt: WeightFormat
    K: int
    rows: int
    weights: V.Memory  # uint8
    quads: V.Memory  # int32
    corr: V.Memory  # int32
    first_quad: V.Expr  # index of the rows' first quad
    first_corr: V.Expr  # index of the rows' first correction
    ahead: int  # bytes of software prefetch; 0: none

    def step(self, piece: Piece) -> int:
        """Steps of a piece whose codes are in registers at a time."""
        vectors = 8 if self.isa.dot == "vnni512" else 2
        return max(1, vectors // len(piece.quads))

    @property
    def largest(self) -> int:
        """Largest code byte."""
        return max(byte_levels(self.fmt))

    def prefetch(self, at: V.Expr) -> None:
        """Ask for the weights `ahead` bytes after byte `at` where that pays."""
        if self.ahead and self.isa.prefetch:
            self.weights.prefetch(at + V.i64(self.ahead))

    def quad(self, group: Group) -> V.Expr:
        """Index of the group's first quad."""
        return self.first_quad + (group.start >> V.i32(2)) * V.i32(self.rows)

    @property
    def quads_at_once(self) -> int:
        """Quads given to one `dot.accumulate`: AVX2 adds several up in 16 bits."""
        return 8 if self.isa.dot == "avx2" else 1
