"""Largest of a row of logits, the first of equals."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.lanes import lane_numbers
from edgeq.kernels.naming import symbol, whole_vectors
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Reg,
    function,
    i32,
    let,
    loop,
    max16,
    minimum,
    select,
    splat,
    when,
)
from edgeq.targets.isa import Isa


@factory
def argmax(N: int, ld: int) -> Kernel:
    """Best of `x[16*lo : 16*hi]`, x: f32[ld]; parameters x, best: f32[1], index: i32[1]; a unit is 16 elements.

    Elements N.. (padding) never win, whatever they hold; NaN never wins. An empty range, or one of padding only, gives
    -inf. Raises UnsupportedError when `ld` is no multiple of 16.
    """
    whole_vectors("argmax", ld=ld)
    whole, ragged = N // LANES, N % LANES
    inside = (lambda: lane_numbers() < splat(ragged)) if ragged else None

    def body(lo: Expr, hi: Expr, x: Memory, best: Memory, index: Memory) -> None:
        value = Reg("float32", splat(float("-inf")))
        where = Reg("int32", splat(lo * LANES) + lane_numbers())

        def take(i: Expr, v: Expr) -> None:
            v = let(v)
            where.set(select(v > value.v, splat(i * LANES) + lane_numbers(), where.v))
            value.set(select(v > value.v, v, value.v))

        with loop(lo, minimum(hi, i32(whole))) as i:
            take(i, x.vector(i * LANES))
        if inside:
            with when((lo <= whole) & (hi > whole)):
                take(i32(whole), select(inside(), x.vector(whole * LANES), splat(float("-inf"))))
        top = let(max16(value.v))
        best.store(0, top)
        # the smallest index among the lanes that hold the largest value
        index.store(0, i32(0) - max16(select(value.v >= splat(top), splat(0) - where.v, splat(-(2**31) + 1))))

    def build(isa: Isa) -> Any:
        types = {"x": "float32", "best": "float32", "index": "int32"}
        return function(name, isa, [], types, body)

    name = symbol("argmax", N, ld)
    return Kernel(name, (Param("x", "in"), Param("best", "out"), Param("index", "out")), build, "16 elements")


def reference(x: np.ndarray, N: int, lo: int, hi: int) -> tuple[np.float32, int]:
    """The same: value and index."""
    part = x[lo * LANES : min(hi * LANES, N)]
    return part[np.nanargmax(part)], lo * LANES + int(np.nanargmax(part))
