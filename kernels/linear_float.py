"""Linear layers with float activations: f32 or f16 weights, or weights in codes that are dequantized on the way.

`y[i, n] = sum over k of w[n, k] * x[i, k] + bias[n]`, in float32, in the order that `linear_float_tile` states.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels import float_weights, linear_float_arm
from edgeq.kernels import vector as V
from edgeq.kernels.epilogue import Epilogue
from edgeq.kernels.kernel import Kernel, factory
from edgeq.kernels.linear_float_tile import Operands, emit_tile, emit_tiles
from edgeq.kernels.linear_frame import Linear, RowSums, ahead, blocks
from edgeq.quant.format import WeightFormat
from edgeq.targets.isa import Isa

_POINTERS = {"w": "uint8", "bias": "float32", "x": "float32", "r": "float32", "o": "float32"}
_ROWS = {"vnni512": 4, "avx2": 2, "generic": 1}  # of a block: each row has four accumulators of 16 lanes
_FLOAT_ROWS = 8  # with float weights: one accumulator a row, of two tiles where there are registers for both


def _coded_rows(isa: Isa) -> int:
    """Rows of a block with quantized weights."""
    return linear_float_arm.ROWS if isa.by_lane else _ROWS[isa.dot]


@factory
def gemv(N: int, K: int, fmt: WeightFormat, epilogue: str = "store", bias: bool = False) -> Kernel:
    """`o = epilogue(w @ x + bias)` for one row x: f32[K]; unit: 16 outputs; parameters w, bias, x, r, o.

    Arguments and errors as of `linear_int.gemv`; every format of one number a group is accepted.
    """
    linear = _linear(N, K, fmt, epilogue, bias)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, w: V.Memory, b: V.Memory, x: V.Memory, r: V.Memory, o: V.Memory) -> None:
            operands = Operands(isa, fmt, K, 1, w, x, V.i32(0))
            with V.loop(lo, hi) as unit:
                sums = [V.let(emit_tile(operands, linear.tile(unit, t))[0]) for t in range(linear.end.tiles)]
                linear.finish(unit, sums, None, b, r, o, unit * V.i32(16))

        return V.function(linear.name("gemv_float"), isa, (), _POINTERS, body)

    return linear.kernel("gemv_float", tuple(_POINTERS), build, chunk=False)


@factory
def gemm(
    N: int, K: int, fmt: WeightFormat, epilogue: str = "store", bias: bool = False, ld: int = 0
) -> Kernel:
    """`gemv` for the m rows of a chunk, x: f32[m, K]; unit: 16 outputs of all rows. Writes whole blocks of 16 rows.

    ld: as of `linear_int.gemm`.
    """
    linear = _linear(N, K, fmt, epilogue, bias, ld)

    def build(isa: Isa) -> Any:
        rows = min(_FLOAT_ROWS, isa.accumulators) if fmt.is_float else _coded_rows(isa)
        paired = fmt.is_float and isa.accumulators >= 2 * _FLOAT_ROWS
        step = 2 if paired and linear.end.tiles == 1 else 1

        def body(lo: V.Expr, hi: V.Expr, m: V.Expr, w: V.Memory, b: V.Memory, *rest: V.Memory) -> None:
            x, r, o = rest

            def block(units: list[V.Expr], count: V.Expr, m0: V.Expr) -> None:
                linear.fetch_residual(units, m0, rows, r)
                tiles = [linear.tile(unit, t) for unit in units for t in range(linear.end.tiles)]
                sums, first = RowSums(rows), V.let(m0 * V.i32(K))

                def compute(distance: int) -> None:
                    operands = Operands(isa, fmt, K, rows, w, x, first, distance)
                    sums.tiles = 0
                    for some in [tiles] if paired else [[tile] for tile in tiles]:
                        for tile in emit_tiles(operands, some) if fmt.is_float else [emit_tile(operands, some[0])]:
                            sums.put(tile)

                # later rows find the weights in the cache; asking for them again costs up to 12 %
                distance = ahead(fmt, K, len(tiles) if paired else 1)
                V.branch(m0 == V.i32(0), lambda: compute(distance), lambda: compute(0))
                linear.finish_rows(units[0], count, m0, sums, lambda row: None, b, r, o)

            blocks(lo, hi, m, rows, block, step)

        return V.function(linear.name("gemm_float"), isa, ("m",), _POINTERS, body)

    return linear.kernel("gemm_float", tuple(_POINTERS), build, chunk=True)


def reference(
    weights: np.ndarray, x: np.ndarray, epilogue: str = "store",
    bias: np.ndarray | None = None, r: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Both kernels in float64: weights [N, K] (dequantized), x [M, K] -> f64[M, N], or half as wide when gated."""
    y = np.asarray(x, np.float64) @ np.asarray(weights, np.float64).T
    return Epilogue.parse(epilogue).reference(y if bias is None else y + bias, r)


def _linear(N: int, K: int, fmt: WeightFormat, epilogue: str, bias: bool, ld: int = 0) -> Linear:
    """Checked description."""
    fmt.check_width(K)
    float_weights.check(fmt)
    linear = Linear(N, K, fmt, Epilogue.parse(epilogue), bias, ld)
    wide = linear.end.width(N)
    if ld and (ld % 16 or ld < wide or linear.end.kind == "add"):
        raise UnsupportedError(f"{N} outputs and epilogue {epilogue}: rows cannot lie {ld} floats apart")
    return linear
