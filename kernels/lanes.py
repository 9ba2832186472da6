"""Lane numbers as a vector."""

from __future__ import annotations

from tvm import tirx

from edgeq.kernels.vector import LANES, Expr, i32


def lane_numbers() -> Expr:
    """`0, 1, ..., 15` as int32x16."""
    return tirx.Ramp(i32(0), i32(1), LANES)
