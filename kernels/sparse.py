"""Linear layers with 2:4 sparse weights and int8 activations, the zeros neither stored nor multiplied: GEMV and GEMM.

`y[i, n] = sa[i] * sum over groups g of scale[n, g] * sum(kept code * q at its place) + bias[n]`

The inner sum is an exact int32, of half as many products as the weight has columns; the sum over groups is one fma a
group, in order, on every instruction set. How weights are stored: `edgeq.quant.sparse`; inner loops: `sparse_tile`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels import linear_int
from edgeq.kernels import vector as V
from edgeq.kernels.epilogue import Epilogue
from edgeq.kernels.kernel import Kernel, factory
from edgeq.kernels.linear_frame import Linear, RowSums, ahead, blocks
from edgeq.kernels.sparse_operands import PANEL_QUADS, Operands
from edgeq.kernels.sparse_tile import emit_tiles, together
from edgeq.quant.format import WeightFormat
from edgeq.targets.isa import Isa

__all__ = ["PANEL_QUADS", "gemm", "gemv", "reference"]

_INTEGERS = {"q": "int32", "corr": "int32"}
_POINTERS = {"w": "uint8", "bias": "float32", **_INTEGERS, "sa": "float32", "r": "float32", "o": "float32"}


@factory
def gemv(N: int, K: int, fmt: WeightFormat, epilogue: str = "store", bias: bool = False) -> Kernel:
    """`o = epilogue(w @ x + bias)` for one row; unit: 16 outputs; parameters w, bias, q, corr, sa, r, o.

    Args:
        N, K: rows and columns of the weight (N is padded to 16, a gated one must be a multiple of 32).
        fmt: a sparse format, `s8` or `s4g64`.
        epilogue: see `epilogue.Epilogue`.
        bias: whether `bias: f32[N]` is added.

    `corr` is not read. Raises UnsupportedError for another format, a K that it cannot hold, or an unknown epilogue.
    """
    linear = _linear(N, K, fmt, epilogue, bias)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, w: V.Memory, b: V.Memory, *rest: V.Memory) -> None:
            q, _, sa, r, o = rest
            x = Operands(isa, fmt, K, 1, w, q, V.i32(0))
            with V.loop(lo, hi) as unit:
                sums = [emit_tiles(x, [linear.tile(unit, t)])[0][0] for t in range(linear.end.tiles)]
                linear.finish(unit, sums, sa[V.i32(0)], b, r, o, unit * V.i32(16))

        return V.function(linear.name("gemv_sparse"), isa, (), _POINTERS, body)

    return linear.kernel("gemv_sparse", tuple(_POINTERS), build, chunk=False)


@factory
def gemm(
    N: int, K: int, fmt: WeightFormat, epilogue: str = "store", bias: bool = False, ld: int = 0
) -> Kernel:
    """`gemv` for the m rows of a chunk; unit: 16 outputs of all rows. Writes rows up to the next multiple of 16.

    q: i8[M/R][K/16][R][16], R = isa.gemm_rows: what `quantize_rows(..., quads=PANEL_QUADS)` writes.
    ld: floats from one row of o to the next where o is some columns of wider rows; not of an `add`.
    """
    linear = _linear(N, K, fmt, epilogue, bias, ld)

    def build(isa: Isa) -> Any:
        rows, step = isa.gemm_rows, together(isa, fmt)
        at_once = step if linear.end.tiles == 1 else 1  # units

        def body(lo: V.Expr, hi: V.Expr, m: V.Expr, w: V.Memory, b: V.Memory, *rest: V.Memory) -> None:
            q, _, sa, r, o = rest

            def block(units: list[V.Expr], count: V.Expr, m0: V.Expr) -> None:
                first = V.let(m0 * V.i32(K // 4))
                x = Operands(isa, fmt, K, rows, w, q, first, ahead(fmt, K, step))
                linear.fetch_residual(units, m0, rows, r)
                tiles = [linear.tile(unit, t) for unit in units for t in range(linear.end.tiles)]
                sums = RowSums(rows)
                for start in range(0, len(tiles), step):
                    for tile in emit_tiles(x, tiles[start : start + step]):
                        sums.put(tile)
                linear.finish_rows(units[0], count, m0, sums, lambda row: sa[row], b, r, o)

            blocks(lo, hi, m, rows, block, at_once)

        return V.function(linear.name("gemm_sparse"), isa, ("m",), _POINTERS, body)

    return linear.kernel("gemm_sparse", tuple(_POINTERS), build, chunk=True)


def reference(
    weights: tuple[np.ndarray, np.ndarray, np.ndarray | None], fmt: WeightFormat, q: np.ndarray, sa: np.ndarray,
    epilogue: str = "store", bias: np.ndarray | None = None, r: np.ndarray | None = None,
) -> np.ndarray:
    """Both kernels in exact integers, then float64: `linear_int.reference` over dense codes, zeros multiplied too."""
    return linear_int.reference(weights, fmt, q, sa, epilogue, bias, r)


def _linear(N: int, K: int, fmt: WeightFormat, epilogue: str, bias: bool, ld: int = 0) -> Linear:
    """Checked description."""
    if not fmt.meaning.sparse:
        raise UnsupportedError(f"sparse linear kernel for {fmt} weights; use linear_int or linear_float")
    fmt.check_width(K)
    linear = Linear(N, K, fmt, Epilogue.parse(epilogue), bias, ld)
    wide = linear.end.width(N)
    if ld and (ld % 16 or ld < wide or linear.end.kind == "add"):
        raise UnsupportedError(f"{N} outputs and epilogue {epilogue}: rows cannot lie {ld} floats apart")
    return linear
