"""Rows times Hadamard matrices, block by block: butterflies for the power of two, dense sums for what is left.

A block of `size = m L` floats is m rows of L. Each row goes through `log2 L` stages of `a + b, a - b` (the fast
Walsh-Hadamard transform): four within vectors, the rest between them, two stages a pass over memory. Where m > 1 the
rows are then added up with the signs of `A_m`, a table of -1 and 1: products with it are exact, so contracting them
changes no bit.
The order of sums is the same on every ISA: stages from the smallest stride up, rows 0..m-1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.ir.hadamard import dense_matrix, factors, hadamard_matrix
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import symbol
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Reg,
    Stack,
    bits,
    function,
    lane_numbers,
    let,
    loop,
    shuffle,
    splat,
)
from edgeq.targets.isa import Isa

_SUMS = 4  # outputs of the dense part that are added up together; every order but 1 is a multiple of 4
Load = Callable[[Expr], Expr]


@factory
def hadamard(width: int, size: int) -> Kernel:
    """Each slice of `size` of a row, times `H / sqrt(size)`; parameters m, x, w, o; x, o: f32[m][width].

    w: `signs(size)`, never read where size is a power of two. `o` may be `x`.
    Raises UnsupportedError for sizes that do not divide the width or whose power of two is below 16.
    """
    dense, power = factors(size)
    if width % size or power % LANES:
        raise UnsupportedError(f"hadamard: {width} channels in blocks of {size}; need a factor 16 and whole blocks")
    name, scale = symbol("hadamard", width, size), float(np.float32(size**-0.5))

    def body(lo: Expr, hi: Expr, m: Expr, x: Memory, w: Memory, o: Memory) -> None:
        with loop(lo, hi) as row:
            at = let(row * width)
            _transform(width // LANES, power // LANES, at, x, o, scale if dense == 1 else 1.0)
            if dense > 1:
                with loop(0, width // size) as block:
                    _add_rows(dense, power, let(at + block * size), w, o, scale)

    def build(isa: Isa) -> Any:
        return function(name, isa, ["m"], dict.fromkeys(("x", "w", "o"), "float32"), body)

    params = (Param("m", "value"), Param("x", "in"), Param("w", "weight"), Param("o", "out"))
    weight_bytes = 4 * dense * dense if dense > 1 else 0
    return Kernel(name, params, build, "row", weight_bytes, width * (dense * (dense > 1) + power.bit_length() - 1))


def signs(size: int) -> np.ndarray:
    """What the kernel takes as `w`: f32[m][m] of -1 and 1."""
    return dense_matrix(factors(size)[0]).astype(np.float32)


def reference(x: np.ndarray, size: int) -> np.ndarray:
    """The same in float64."""
    blocks = np.asarray(x, np.float64).reshape(len(x), -1, size)
    return (blocks @ hadamard_matrix(size) / np.sqrt(size)).reshape(x.shape)


def _transform(vectors: int, length: int, at: Expr, x: Memory, o: Memory, scale: float) -> None:
    """Every `length` of the `vectors` of a row, from x to o; the first pass includes the stages within vectors."""
    stride, source, first = 1, x, True
    while first or stride < length:
        radix = min(4, length // stride)
        last = stride * radix == length
        load = partial(_load, source, first)
        with loop(0, vectors // (radix * stride)) as group:
            start = let(at + group * (radix * stride * LANES))
            with loop(0, stride) as i:
                _butterflies(load, o, let(start + i * LANES), stride * LANES, radix, scale if last else 1.0)
        stride, source, first = stride * radix, o, False


def _load(source: Memory, within: bool, at: Expr) -> Expr:
    v = let(source.vector(at))
    for stage in range(4 if within else 0):
        v = let(shuffle(v, [i ^ 1 << stage for i in range(LANES)]) + _flip(v, stage))
    return v


def _flip(v: Expr, stage: int) -> Expr:
    """v with the sign changed in the lanes whose number has bit `stage` set."""
    return bits("float32x16", bits("int32x16", v) ^ ((lane_numbers() & splat(1 << stage)) << splat(31 - stage)))


def _butterflies(load: Load, o: Memory, at: Expr, step: int, radix: int, scale: float) -> None:
    """`radix` vectors `step` floats apart: sums and differences of pairs 1 apart, then of pairs 2 apart."""
    values = [load(at + k * step) for k in range(radix)]
    for apart in (1, 2)[: radix.bit_length() - 1]:
        pairs = [(values[k & ~apart], values[k | apart], k & apart) for k in range(radix)]
        values = [let(a - b if odd else a + b) for a, b, odd in pairs]
    for k, v in enumerate(values):
        o.store(at + k * step, v if scale == 1.0 else v * splat(scale))


def _add_rows(m: int, power: int, at: Expr, w: Memory, o: Memory, scale: float) -> None:
    """`o[j] = scale * sum over i of w[i, j] * o[i]` of m rows of `power` floats, 16 columns at a time."""
    column = Stack(m * LANES, "float32")
    with loop(0, power // LANES) as c:
        here = let(at + c * LANES)
        with loop(0, m) as i:
            column.store(i * LANES, o.vector(here + i * power))
        with loop(0, m // _SUMS) as block:
            sums = [Reg("float32", splat(0.0)) for _ in range(_SUMS)]
            with loop(0, m) as i:
                v, sign = let(column.vector(i * LANES)), let(i * m + block * _SUMS)
                for k, total in enumerate(sums):
                    total.set(total.v + v * splat(w[sign + k]))
            for k, total in enumerate(sums):
                o.store(here + (block * _SUMS + k) * power, total.v * splat(scale))
