"""Lane numbers as a vector, and what they are for: leaving out pad lanes."""

from __future__ import annotations

from tvm import tirx

from edgeq.kernels.vector import LANES, Expr, i32, select, splat


def lane_numbers() -> Expr:
    """`0, 1, ..., 15` as int32x16."""
    return tirx.Ramp(i32(0), i32(1), LANES)


def within(i: Expr, value: Expr, width: int) -> Expr:
    """16 floats of elements i, i + 1, ... of a row: zero from element `width` on (nothing to do for whole vectors)."""
    if width % LANES == 0:
        return value
    return select(splat(i) + lane_numbers() < splat(width), value, splat(0.0))
