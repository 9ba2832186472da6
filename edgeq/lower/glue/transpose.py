"""16 by 16 elements read along the axis where they are neighbours and turned in registers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from edgeq.kernels.vector import LANES, i32, let
from edgeq.lower.glue.expression import kind, loads, substitute
from edgeq.lower.glue.space import const
from edgeq.lower.glue.stage import Stage
from edgeq.lower.glue.value import Binding, Evaluator

Expr = Any


def load_blocks(ev: Evaluator, stage: Stage, places: Sequence[Binding]) -> None:
    """Fetch what 16 rows of the stage read across memory: 16 vectors along the rows instead of 256 elements."""
    if len(places) != LANES or ev.space.lane is None:
        return
    for load in loads(stage.value):
        at = [tuple(ev.space.simplify(substitute(i, p)) for i in load.indices) for p in places]
        inner = ev.inlined.get(load.source)
        if inner is not None:
            if not inner.reduce:
                load_blocks(ev, inner, [dict(zip(inner.vars, indices, strict=True)) for indices in at])
        elif str(load.source.dtype) == "float32":
            _block(ev, load, at)


def _block(ev: Evaluator, load: Expr, at: Sequence[tuple[Expr, ...]]) -> None:
    slot, space = ev.slots[load.source], ev.space
    flat = [space.simplify(slot.layout.flat(indices)) for indices in at]
    if loads(flat[0]) or not space.varies(flat[0]):
        return
    step, base = space.stride(flat[0])
    if step is None or step == 1 or not _neighbours(ev, flat):
        return
    lines = [min(k, space.valid - 1) for k in range(LANES)]
    columns = [let(slot.memory.vector(ev.value(space.simplify(base + const(step * k)), {}))) for k in lines]
    for indices, row in zip(at, turned(columns), strict=True):
        ev.keep(load.source, indices, row)


def _neighbours(ev: Evaluator, flat: Sequence[Expr]) -> bool:
    """Whether each row reads one element after the row before."""
    gaps = [ev.space.simplify(index - flat[0]) for index in flat]
    return all(kind(gap) == "IntImm" and int(gap.value) == k for k, gap in enumerate(gaps))


def turned(rows: Sequence[Expr]) -> list[Expr]:
    """The transpose of 16 vectors of 16: four rounds that exchange halves between vectors 8, 4, 2, 1 apart."""
    rows = list(rows)
    for half in (8, 4, 2, 1):
        low = [k for k in range(LANES) if not k & half]
        for k in low:
            a, b = rows[k], rows[k + half]
            first = [i if not i & half else i - half + LANES for i in range(LANES)]
            second = [i + half if not i & half else i + LANES for i in range(LANES)]
            rows[k], rows[k + half] = let(pick(a, b, first)), let(pick(a, b, second))
    return rows


def pick(a: Expr, b: Expr, lanes: Sequence[int]) -> Expr:
    """Lanes of a (0..15) and b (16..31)."""
    return tirx.Shuffle([a, b], [i32(k) for k in lanes])
