"""Transposition of 16 x 16 floats in registers."""

from __future__ import annotations

from collections.abc import Sequence

from tvm import tirx

from edgeq.kernels.vector import LANES, Expr, let


def transpose16(rows: Sequence[Expr]) -> list[Expr]:
    """16 vectors of 16 lanes -> 16 vectors: lane i of result j is lane j of row i. Four rounds of shuffles of two."""
    rows, step = [let(r) for r in rows], LANES // 2
    while step:
        for i in (i for i in range(LANES) if not i & step):
            a, b = rows[i], rows[i + step]
            low = [k if not k & step else LANES + k - step for k in range(LANES)]
            high = [k + step if not k & step else LANES + k for k in range(LANES)]
            rows[i], rows[i + step] = let(tirx.Shuffle([a, b], low)), let(tirx.Shuffle([a, b], high))
        step //= 2
    return rows
