"""Linear layers with 4- or 8-bit weights and int8 activations: GEMV (decode) and GEMM (a prefill chunk).

`y[i, n] = sa[i] * sum over groups g of scale[n, g] * (zero[n, g] * -sum(q) + sum(code * q)) + bias[n]`

The bracket is an exact int32; the sum over groups is one fma a group, in order, on every instruction set.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels import vector as V
from edgeq.kernels.epilogue import Epilogue
from edgeq.kernels.kernel import Kernel, Param
from edgeq.kernels.linear_int_tile import Operands, emit_tile
from edgeq.quant.format import WeightFormat
from edgeq.targets.isa import Isa

_INTEGERS = {"q": "int32", "corr": "int32"}
_POINTERS = {"w": "uint8", "bias": "float32", **_INTEGERS, "sa": "float32", "r": "float32", "o": "float32"}
_ACCESS = {"w": "weight", "bias": "weight", "o": "out"}
_PARAMS = tuple(Param(name, _ACCESS.get(name, "in")) for name in _POINTERS)
_PANELS = 4  # units of 16 outputs that share an activation panel while it is in cache


def gemv(N: int, K: int, fmt: WeightFormat, epilogue: str = "store", bias: bool = False) -> Kernel:
    """`o = epilogue(w @ x + bias)` for one row; unit: 16 outputs.

    Args:
        N, K: rows and columns of the weight (N is padded to 16, a gated one must be a multiple of 32).
        fmt: how the weight is packed, 4 or 8 bits.
        epilogue: see `epilogue.Epilogue`.
        bias: whether `bias: f32[N]` is added.

    Raises UnsupportedError for a float format, a K that the format cannot hold, or an unknown epilogue.
    """
    end = _check(N, K, fmt, epilogue)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, w: V.Memory, b: V.Memory, *rest: V.Memory) -> None:
            q, corr, sa, r, o = rest
            x = Operands(isa, fmt, K, 1, w, q, corr)
            with V.loop(lo, hi) as unit:
                sums = [emit_tile(x, _tile(x, unit, t, end), V.i32(0), V.i32(0)).row(0) for t in range(end.tiles)]
                _finish(end, unit, sums, sa[V.i32(0)], b if bias else None, r, o, unit * V.i32(16))

        return V.function(_name("gemv", N, K, fmt, end, bias), isa, (), _POINTERS, body)

    return _kernel("gemv", N, K, fmt, end, bias, (), build)


def gemm(N: int, K: int, fmt: WeightFormat, epilogue: str = "store", bias: bool = False) -> Kernel:
    """`gemv` for the m rows of a chunk; unit: 16 outputs of all rows. Writes rows up to the next multiple of 16."""
    end = _check(N, K, fmt, epilogue)
    width = end.width(N)

    def build(isa: Isa) -> Any:
        rows = isa.gemm_rows

        def block(x: Operands, unit: V.Expr, m0: V.Expr, b: V.Memory | None, rest: tuple[V.Memory, ...]) -> None:
            _, _, sa, r, o = rest
            quad, corr = V.let(m0 * V.i32(K // 4)), V.let(m0 * V.i32(fmt.groups(K)))
            tiles = [emit_tile(x, _tile(x, unit, t, end), quad, corr) for t in range(end.tiles)]
            sums = V.Stack(end.tiles * rows * 16, "float32")
            for t, i in itertools.product(range(end.tiles), range(rows)):
                sums.store(V.i32((t * rows + i) * 16), tiles[t].row(i))
            with V.loop(0, rows) as i:  # a loop: an activation is too much code to repeat for every row
                row = V.let(m0 + i)
                y = [sums.vector((i + V.i32(t * rows)) * V.i32(16)) for t in range(end.tiles)]
                _finish(end, unit, y, sa[row], b, r, o, V.let(row * V.i32(width) + unit * V.i32(16)))

        def body(lo: V.Expr, hi: V.Expr, m: V.Expr, w: V.Memory, b: V.Memory, *rest: V.Memory) -> None:
            x = Operands(isa, fmt, K, rows, w, rest[0], rest[1])
            with V.loop(V.i32(0), (hi - lo + V.i32(_PANELS - 1)) // V.i32(_PANELS)) as p:
                first = V.let(lo + p * V.i32(_PANELS))
                last = V.let(V.minimum(first + V.i32(_PANELS), hi))
                with V.loop(V.i32(0), (m + V.i32(rows - 1)) // V.i32(rows)) as block_row, V.loop(first, last) as unit:
                    block(x, unit, V.let(block_row * V.i32(rows)), b if bias else None, rest)

        return V.function(_name("gemm", N, K, fmt, end, bias), isa, ("m",), _POINTERS, body)

    return _kernel("gemm", N, K, fmt, end, bias, (Param("m", "value"),), build)


def reference(
    weights: tuple[np.ndarray, np.ndarray, np.ndarray | None], fmt: WeightFormat, q: np.ndarray, sa: np.ndarray,
    epilogue: str = "store", bias: np.ndarray | None = None, r: np.ndarray | None = None,
) -> np.ndarray:
    """Both kernels in exact integers, then float64.

    Args:
        weights: codes uint8[N, K], scale f16[N, KG], zero uint8[N, KG] (None when symmetric).
        fmt: their format.
        q: int8[M, K]; sa: f32[M].
        epilogue, bias, r: as in `gemv`; bias f32[N], r f32[M, N].

    Returns:
        f64[M, N], or half as wide when gated.
    """
    codes, scale, zero = weights
    y = np.zeros((len(q), len(codes)))
    for g, (start, stop) in enumerate(fmt.group_bounds(codes.shape[1])):
        point = fmt.zero_point if zero is None else zero[:, g : g + 1].astype(np.int64)
        centred = codes[:, start:stop].astype(np.int64) - point
        y += (q[:, start:stop].astype(np.int64) @ centred.T) * scale[:, g].astype(np.float64)
    y *= sa.astype(np.float64)[:, None]
    return Epilogue.parse(epilogue).reference(y if bias is None else y + bias, r)


def _check(N: int, K: int, fmt: WeightFormat, epilogue: str) -> Epilogue:
    if fmt.is_float:
        raise UnsupportedError(f"integer linear kernel for {fmt} weights; use linear_float")
    fmt.check_width(K)
    end = Epilogue.parse(epilogue)
    end.width(N)
    return end


def _name(family: str, N: int, K: int, fmt: WeightFormat, end: Epilogue, bias: bool) -> str:
    return f"{family}_{fmt}_{N}x{K}_{str(end).replace(':', '_')}{'_bias' if bias else ''}"


def _kernel(
    family: str, N: int, K: int, fmt: WeightFormat, end: Epilogue, bias: bool, scalars: tuple[Param, ...], build: Any
) -> Kernel:
    unit = "16 output rows" if family == "gemv" else "16 output rows, all activation rows"
    name = _name(family, N, K, fmt, end, bias)
    return Kernel(name, (*scalars, *_PARAMS), build, unit, fmt.nbytes(N, K), N * K)


def _tile(x: Operands, unit: V.Expr, t: int, end: Epilogue) -> V.Expr:
    """Byte offset of the t-th tile of a unit."""
    return V.let((V.i64(unit) * V.i64(end.tiles) + V.i64(t)) * V.i64(x.fmt.tile_bytes(x.K)))


def _finish(
    end: Epilogue, unit: V.Expr, sums: list[V.Expr], sa: V.Expr,
    bias: V.Memory | None, r: V.Memory, o: V.Memory, at: V.Expr,
) -> None:
    """Scale, bias and epilogue of 16 outputs."""
    scale = V.let(V.splat(sa))
    y = []
    for t, s in enumerate(sums):
        first = (unit * V.i32(end.tiles) + V.i32(t)) * V.i32(16)
        y.append(V.let(V.fence(s * scale) if bias is None else V.fma(s, scale, bias.vector(first))))
    end.emit(y, r, o, at)
