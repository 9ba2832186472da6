"""Emits 16 output rows times a block of activation rows of a quantized linear on ARM: the inner loops of `linear_int`.

A tile's 16 outputs are taken in passes of a few columns of 4 (`linear_int_column`): as many as fit in 32 registers of 4
lanes with their operands. With short groups fewer, because float and integer sums are both in use at every step.
The order of float operations is that of `linear_int_tile`.

Instructions of the loop over groups for 100 multiply-adds, 4-bit weights:

| GEMM version | sdot g32 | g128 | smmla g32 | g128 |
|---|---|---|---|---|
| 4 rows x 16 outputs (`linear_int_tile`) | 12.7 | 11.0 | | |
| 8 rows x 8 outputs; integer sums of g32 4 outputs at a time | 11.5, spills | 9.1 | 10.5, spills | 6.3 |
| g32: passes of 4 outputs | 11.1 | 9.1 | 8.5 | 6.3 |
"""

from __future__ import annotations

from functools import partial

from edgeq.kernels import dot_arm
from edgeq.kernels import vector as V
from edgeq.kernels.linear_groups import Group, walk
from edgeq.kernels.linear_int_activations import Activations
from edgeq.kernels.linear_int_column import COLUMNS, Column
from edgeq.kernels.linear_int_operands import Operands
from edgeq.quant.format import TILE_ROWS, VECTOR_BYTES
from edgeq.quant.layout import Piece
from edgeq.targets.isa import Isa

_SHORT = 32  # weights of a group
_FEW_QUADS = 2  # whose products fit in int16
_UNROLLED = {"sdot": 8, "smmla": 8, "smlal": 16}  # quads that a loop takes at a time: int16 sums are worth filling


def takes(isa: Isa) -> bool:
    """Whether this ISA's linears are emitted here."""
    return (isa.dot, True) in COLUMNS


def emit_block(x: Operands, tile: V.Expr) -> list[V.Expr]:
    """float32x16 sums of the tile at byte offset `tile` (int64), one for each activation row."""
    sums, outputs = V.Stack(x.rows * TILE_ROWS, "float32"), _outputs(x)
    kind, run = COLUMNS[x.isa.dot, x.rows > 1], 2 if x.rows == 1 else 1
    for first in range(0, TILE_ROWS, outputs):
        columns = [kind(x, n) for n in range(first, first + outputs, 4)]
        walk(x.fmt, x.K, [tile], partial(_add_groups, x, columns), run)
        for column in columns:
            column.store(sums)
    return [sums.vector(row * TILE_ROWS) for row in range(x.rows)]


def _outputs(x: Operands) -> int:
    """Outputs of a pass."""
    if x.rows == 1:
        return TILE_ROWS
    if x.isa.dot == "smlal":  # sums of pairs stay in registers where products are often added to them
        return 8 if dot_arm.smlal_quads(x.isa, x.fmt) > _FEW_QUADS else 4
    return 4 if 0 < x.fmt.group_size <= _SHORT else 8


def _add_groups(x: Operands, columns: list[Column], groups: list[Group]) -> None:
    """Add groups to the columns' float sums, in order; their integer sums are computed side by side."""
    for column in columns:
        column.begin(groups)
    straight = [Activations(x, group, V.i32(0)) for group in groups]
    for piece in x.fmt.pieces(groups[0].length):
        step = _at_a_time(x, piece)
        looped = piece.steps // step if piece.steps > step else 0
        if looped:
            _fold(columns)
            with V.loop(0, looped) as i:
                first = V.let(i * V.i32(step))
                activations = [Activations(x, group, first) for group in groups]
                _add_steps(groups, columns, piece, activations, first, range(step))
                _fold(columns)
        _add_steps(groups, columns, piece, straight, V.i32(0), range(looped * step, piece.steps))
    _fold(columns)
    for column in columns:
        column.end(groups)


def _at_a_time(x: Operands, piece: Piece) -> int:
    """Steps of a piece that a loop takes at a time: a multiple of four quads, all rows counted, which loads want."""
    least, quads = 4 if x.rows == 1 else 2, len(piece.quads)
    return max(least, _UNROLLED[x.isa.dot] // max(2, quads) // least * least)


def _fold(columns: list[Column]) -> None:
    for column in columns:
        column.fold()


def _add_steps(
    groups: list[Group], columns: list[Column], piece: Piece, activations: list[Activations],
    first: V.Expr, steps: range,
) -> None:  # fmt: skip
    """Add steps `first + steps` of a piece of each group to the integer sums; activations start at quad `first`."""
    bases = [V.let(group.vectors + V.i64(first) * V.i64(VECTOR_BYTES)) for group in groups]
    together = columns[0].together(piece)
    for s in steps[::together]:
        for g, base in enumerate(bases):
            for column in columns:
                column.add(g, base, activations[g], piece, s)
