"""Linear layers with integer-coded weights and int8 activations: GEMV (decode) and GEMM (a prefill chunk).

`y[i, n] = sa[i] * sum over groups g of scale[n, g] * (zero[n, g] * -sum(q) + sum(code * q)) + bias[n]`

The bracket is an exact int32, of formats with levels `sum(level * q)`; the sum over groups is one fma a group, in
order, on every instruction set; with offsets (kind `min`) a second one follows, `offset[n, g] * -sum(q)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels import vector as V
from edgeq.kernels.epilogue import Epilogue
from edgeq.kernels.kernel import Kernel, factory
from edgeq.kernels.linear_frame import Linear, RowSums, ahead, blocks
from edgeq.kernels.linear_int_operands import Operands, gemv_ahead
from edgeq.kernels.linear_int_tile import emit_tiles, pairs
from edgeq.quant.format import WeightFormat
from edgeq.targets.isa import Isa

_INTEGERS = {"q": "int32", "corr": "int32"}
_POINTERS = {"w": "uint8", "bias": "float32", **_INTEGERS, "sa": "float32", "r": "float32", "o": "float32"}


@factory
def gemv(N: int, K: int, fmt: WeightFormat, epilogue: str = "store", bias: bool = False) -> Kernel:
    """`o = epilogue(w @ x + bias)` for one row; unit: 16 outputs; parameters w, bias, q, corr, sa, r, o.

    Args:
        N, K: rows and columns of the weight (N is padded to 16, a gated one must be a multiple of 32).
        fmt: how the weight is packed: levels times a scale (and an offset), or the planes and tables of `planes_tile`.
        epilogue: see `epilogue.Epilogue`.
        bias: whether `bias: f32[N]` is added.

    Raises UnsupportedError for a format of floats, a sparse one, a K that it cannot hold, or an unknown epilogue.
    """
    linear = _linear(N, K, fmt, epilogue, bias)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, w: V.Memory, b: V.Memory, *rest: V.Memory) -> None:
            q, corr, sa, r, o = rest
            x = Operands(isa, fmt, K, 1, w, q, corr, V.i32(0), V.i32(0), gemv_ahead(fmt))
            with V.loop(lo, hi) as unit:
                sums = [emit_tiles(x, [linear.tile(unit, t)])[0][0] for t in range(linear.end.tiles)]
                linear.finish(unit, sums, sa[V.i32(0)], b, r, o, unit * V.i32(16))

        return V.function(linear.name("gemv"), isa, (), _POINTERS, body)

    return linear.kernel("gemv", tuple(_POINTERS), build, chunk=False)


@factory
def gemm(
    N: int, K: int, fmt: WeightFormat, epilogue: str = "store", bias: bool = False, ld: int = 0
) -> Kernel:
    """`gemv` for the m rows of a chunk; unit: 16 outputs of all rows. Writes rows up to the next multiple of 16.

    ld: floats from one row of o to the next where o is some columns of wider rows; not of an `add`.
    """
    linear = _linear(N, K, fmt, epilogue, bias, ld)

    def build(isa: Isa) -> Any:
        rows, paired = isa.gemm_rows, pairs(isa, fmt)
        step = 2 if paired and linear.end.tiles == 1 else 1

        def body(lo: V.Expr, hi: V.Expr, m: V.Expr, w: V.Memory, b: V.Memory, *rest: V.Memory) -> None:
            q, corr, sa, r, o = rest

            def block(units: list[V.Expr], count: V.Expr, m0: V.Expr) -> None:
                quad, first = V.let(m0 * V.i32(K // 4)), V.let(m0 * V.i32(fmt.groups(K)))
                together = linear.end.tiles * step if paired else 1
                x = Operands(isa, fmt, K, rows, w, q, corr, quad, first, ahead(fmt, K, together))
                linear.fetch_residual(units, m0, rows, r)
                tiles = [linear.tile(unit, t) for unit in units for t in range(linear.end.tiles)]
                sums = RowSums(rows)
                for some in [tiles] if paired else [[tile] for tile in tiles]:
                    for tile in emit_tiles(x, some):
                        sums.put(tile)
                linear.finish_rows(units[0], count, m0, sums, lambda row: sa[row], b, r, o)

            blocks(lo, hi, m, rows, block, step)

        return V.function(linear.name("gemm"), isa, ("m",), _POINTERS, body)

    return linear.kernel("gemm", tuple(_POINTERS), build, chunk=True)


def _linear(N: int, K: int, fmt: WeightFormat, epilogue: str, bias: bool, ld: int = 0) -> Linear:
    """Checked description."""
    if not takes(fmt):
        instead = "linear_float" if fmt.float_only else "sparse"
        raise UnsupportedError(f"integer linear kernel for {fmt} weights; use {instead}")
    fmt.check_width(K)
    linear = Linear(N, K, fmt, Epilogue.parse(epilogue), bias, ld)
    wide = linear.end.width(N)
    if ld and (ld % 16 or ld < wide or linear.end.kind == "add"):
        raise UnsupportedError(f"{N} outputs and epilogue {epilogue}: rows cannot lie {ld} floats apart")
    return linear


def takes(fmt: WeightFormat) -> bool:
    """Whether these kernels multiply such weights."""
    return not (fmt.float_only or fmt.meaning.sparse)


def reference(
    weights: tuple[np.ndarray, np.ndarray, np.ndarray | None], fmt: WeightFormat, q: np.ndarray, sa: np.ndarray,
    epilogue: str = "store", bias: np.ndarray | None = None, r: np.ndarray | None = None,
) -> np.ndarray:
    """Both kernels in exact integers, then float64.

    Args:
        weights: codes uint8[N, K], scale f16[N, KG], zero uint8[N, KG] or offsets f16[N, KG] (None when symmetric).
        fmt: their format.
        q: int8[M, K]; sa: f32[M].
        epilogue, bias, r: as in `gemv`; bias f32[N], r f32[M, N].

    Returns:
        f64[M, N], or half as wide when gated.
    """
    import torch

    from edgeq.quant.values import level_values

    codes, scale, zero = weights
    y = np.zeros((len(q), len(codes)))
    levels = level_values(torch.from_numpy(codes), None if zero is None else torch.from_numpy(zero), fmt).numpy()
    for g, (start, stop) in enumerate(fmt.group_bounds(codes.shape[1])):
        x = q[:, start:stop].astype(np.int64)
        y += (x @ levels[:, start:stop].astype(np.int64).T) * scale[:, g].astype(np.float64)
        if fmt.kind == "min" and zero is not None:
            y -= x.sum(1, keepdims=True) * zero[:, g].astype(np.float64)
    y *= sa.astype(np.float64)[:, None]
    return Epilogue.parse(epilogue).reference(y if bias is None else y + bias, r)
