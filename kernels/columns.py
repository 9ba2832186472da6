"""Columns of rows in another order: `o[i, j] = x[i, index[j]]`, zero where the index is -1.

A scalar load a column: 4096 columns take about as long as 30 KB of weights, and a linear that reads them has megabytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.naming import padded, symbol
from edgeq.kernels.vector import Expr, Memory, f32, function, i32, let, loop, maximum, select
from edgeq.targets.isa import Isa

_UNROLLED = 8


@factory
def columns(width: int, count: int, ld: int = 0) -> Kernel:
    """Parameters m, x: f32[m][ld], index: i32[padded(count)], o: f32[m][padded(count)]; unit: a row.

    Args:
        width: columns of x.
        count: of o; `index[count:]` is -1, so that pad lanes are zero.
        ld: floats from one row of x to the next, 0: padded(width).

    Every index is -1 or below `width`: whoever calls has checked that. Raises UnsupportedError for rows that overlap.
    """
    stride, wide = ld or padded(width), padded(count)
    if width <= 0 or count <= 0 or stride < width:
        raise UnsupportedError(f"columns: {count} of {width} columns, rows {stride} floats apart")
    name = symbol("columns", f"{count}of{width}", *([f"ld{ld}"] if ld else []))

    def body(lo: Expr, hi: Expr, m: Expr, x: Memory, index: Memory, o: Memory) -> None:
        with loop(lo, hi) as row:
            source, target = let(row * i32(stride)), let(row * i32(wide))
            with loop(0, wide // _UNROLLED) as block:
                for k in range(_UNROLLED):
                    j = let(block * i32(_UNROLLED) + i32(k))
                    at = let(index[j])
                    value = let(x[source + maximum(at, i32(0))])
                    o.store(target + j, select(at < i32(0), f32(0.0), value))

    def build(isa: Isa) -> Any:
        return function(name, isa, ["m"], {"x": "float32", "index": "int32", "o": "float32"}, body)

    params = (Param("m", "value"), Param("x", "in"), Param("index", "weight"), Param("o", "out"))
    return Kernel(name, params, build, "row", 4 * wide, 0)


def reference(x: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The same: `[M, width]` and i32 `[count]` -> `[M, count]`."""
    return np.where(index >= 0, x[:, np.maximum(index, 0)], 0).astype(x.dtype)
