"""Linear layers of signs times signs: GEMV and GEMM on packed bits, counted exactly, then scaled.

`y[i, n] = sa[i] * alpha[n] * sum over k of sign(w[n, k]) * sign(x[i, k]) + bias[n]`

The sum is `K - 2 * popcount(w ^ x)`, an exact int32, so that all instruction sets agree bit for bit. `count` and
`count_rows` give the integers themselves, also for bits that mean 0 and 1. `binary_rows.pack_rows` makes q and sa;
the layouts are in `binary_pack`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels import vector as V
from edgeq.kernels.binary_pack import FORMAT, copies, rows, words
from edgeq.kernels.binary_tile import Operands, emit_counts
from edgeq.kernels.epilogue import Epilogue
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.lanes import lane_numbers
from edgeq.kernels.linear_frame import PANELS, Linear, RowSums, blocks
from edgeq.kernels.naming import padded, symbol
from edgeq.targets.isa import Isa

_POINTERS = {"w": "uint8", "bias": "float32", "q": "int32", "sa": "float32", "r": "float32", "o": "float32"}
_COUNTED = {"w": "uint8", "q": "int32", "o": "int32"}
_OPS = ("xnor", "and")
PASS_BYTES = 512 << 10  # of weights that all rows meet before the next come: half of an L2 cache
AHEAD = 4096  # bytes of a GEMV's software prefetch, as in linear_int_tile


@factory
def gemv(N: int, K: int, epilogue: str = "store", bias: bool = False) -> Kernel:
    """`o = epilogue(sa * alpha * (w . x) + bias)` for one row; unit: 16 outputs; parameters w, bias, q, sa, r, o.

    Args:
        N, K: rows and columns of the weight, packed by `binary_pack.pack`; any K up to 2**23; N is padded to 16, a
            gated one must be a multiple of 32.
        epilogue: see `epilogue.Epilogue`.
        bias: whether `bias: f32[N]` is added.

    C parameters: q u32[words][C], sa f32[1], r and o f32[N padded]. Raises UnsupportedError for another K or epilogue.
    """
    linear = _linear(N, K, epilogue, bias)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, w: V.Memory, b: V.Memory, *rest: V.Memory) -> None:
            q, sa, r, o = rest
            x = _one_row(isa, K, w, q)
            with V.loop(lo, hi) as unit:
                sums = [_scaled(x, linear.tile(unit, t))[0] for t in range(linear.end.tiles)]
                linear.finish(unit, sums, sa[V.i32(0)], b, r, o, unit * V.i32(16))

        return V.function(linear.name("gemv_binary"), isa, (), _POINTERS, body)

    return linear.kernel("gemv_binary", tuple(_POINTERS), build, chunk=False)


@factory
def gemm(N: int, K: int, epilogue: str = "store", bias: bool = False, ld: int = 0) -> Kernel:
    """`gemv` for the m rows of a chunk; unit: 16 outputs of all rows. Writes rows up to the next multiple of 16.

    C parameters: m, w, bias, q u32[M/R][words][R][C], sa f32[M], r and o f32[M][N padded], rows of o `ld` floats apart.
    """
    linear = _linear(N, K, epilogue, bias, ld)

    def build(isa: Isa) -> Any:
        R = rows(isa)

        def body(lo: V.Expr, hi: V.Expr, m: V.Expr, w: V.Memory, b: V.Memory, *rest: V.Memory) -> None:
            q, sa, r, o = rest

            def block(units: list[V.Expr], count: V.Expr, m0: V.Expr) -> None:
                linear.fetch_residual(units, m0, R, r)
                x, sums = _panel(isa, K, w, q, m0), RowSums(R)
                for t in range(linear.end.tiles):
                    sums.put(_scaled(x, linear.tile(units[0], t)))
                linear.finish_rows(units[0], count, m0, sums, lambda row: sa[row], b, r, o)

            blocks(lo, hi, m, R, block, panels=_panels(isa, linear))

        return V.function(linear.name("gemm_binary"), isa, ("m",), _POINTERS, body)

    return linear.kernel("gemm_binary", tuple(_POINTERS), build, chunk=True)


@factory
def count(N: int, K: int, op: str = "xnor") -> Kernel:
    """The integers of one row: `"xnor"` sums of sign products, `"and"` how many k have both bits set; unit: 16 outputs.

    C parameters: w, q u32[words][C], o i32[N padded]; outputs past N are 0. Raises UnsupportedError for other op or K.
    """
    name, linear = _counter("count", N, K, op)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, w: V.Memory, q: V.Memory, o: V.Memory) -> None:
            x = _one_row(isa, K, w, q, op)
            with V.loop(lo, hi) as unit:
                (counts,) = emit_counts(x, linear.tile(unit, 0))
                o.store(unit * V.i32(16), _live(unit * V.i32(16), counts, N))

        return V.function(name, isa, (), _COUNTED, body)

    return _counting(name, linear, build, ())


@factory
def count_rows(N: int, K: int, op: str = "xnor") -> Kernel:
    """`count` for the m rows of a chunk, q as of `gemm`, o i32[M][N padded]; unit: 16 outputs of all rows."""
    name, linear = _counter("count_rows", N, K, op)

    def build(isa: Isa) -> Any:
        R = rows(isa)

        def body(lo: V.Expr, hi: V.Expr, m: V.Expr, w: V.Memory, q: V.Memory, o: V.Memory) -> None:
            def block(units: list[V.Expr], _: V.Expr, m0: V.Expr) -> None:
                at = V.let(units[0] * V.i32(16))
                for row, counts in enumerate(emit_counts(_panel(isa, K, w, q, m0, op), linear.tile(units[0], 0))):
                    o.store((m0 + V.i32(row)) * V.i32(padded(N)) + at, _live(at, counts, N))

            blocks(lo, hi, m, R, block, panels=_panels(isa, linear))

        return V.function(name, isa, ("m",), _COUNTED, body)

    return _counting(name, linear, build, (Param("m", "value"),))


def reference(
    codes: np.ndarray, alpha: np.ndarray, signs: np.ndarray, sa: np.ndarray, epilogue: str = "store",
    bias: np.ndarray | None = None, r: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """Both linears: codes [N, K], signs [M, K] of -1 and +1, alpha f32[N], sa f32[M] -> f64[M, N], half when gated."""
    y = (signs.astype(np.int64) @ codes.astype(np.int64).T) * alpha.astype(np.float64) * sa.astype(np.float64)[:, None]
    return Epilogue.parse(epilogue).reference(y if bias is None else y + bias, r)


def _linear(N: int, K: int, epilogue: str, bias: bool, ld: int = 0) -> Linear:
    """Checked description."""
    FORMAT.check_width(K)
    linear = Linear(N, K, FORMAT, Epilogue.parse(epilogue), bias, ld)
    linear.end.width(N)
    return linear


def _panels(isa: Isa, linear: Linear) -> int:
    """Units to a pass over the rows; ARM's caches may be smaller than `PASS_BYTES`."""
    if isa.triple.startswith("aarch64"):
        return PANELS
    return max(1, PASS_BYTES // (linear.fmt.tile_bytes(linear.K) * linear.end.tiles))


def _counter(family: str, N: int, K: int, op: str) -> tuple[str, Linear]:
    if op not in _OPS:
        raise UnsupportedError(f"no binary kernel counts {op!r}; known: {', '.join(_OPS)}")
    return symbol(f"{family}_binary", f"{N}x{K}", op), _linear(N, K, "store", False)


def _counting(name: str, linear: Linear, build: Any, scalars: tuple[Param, ...]) -> Kernel:
    params = (*scalars, Param("w", "weight"), Param("q", "in"), Param("o", "out"))
    unit = "16 output rows, all activation rows" if scalars else "16 output rows"
    return Kernel(name, params, build, unit, FORMAT.nbytes(linear.N, linear.K), linear.N * linear.K)


def _one_row(isa: Isa, K: int, w: V.Memory, q: V.Memory, op: str = "xnor") -> Operands:
    """Operands of a GEMV, whose weights are one stream."""
    return Operands(isa, K, 1, w, q, V.i32(0), op, AHEAD if isa.prefetch else 0)


def _panel(isa: Isa, K: int, w: V.Memory, q: V.Memory, m0: V.Expr, op: str = "xnor") -> Operands:
    """Operands of the panel of rows that starts at row m0."""
    first = V.let(m0 * V.i32(words(K) * copies(isa)))
    return Operands(isa, K, rows(isa), w, q, first, op)


def _live(at: V.Expr, counts: V.Expr, N: int) -> V.Expr:
    """Counts of outputs at, at + 1, ...: zero from output N on."""
    if N % 16 == 0:
        return counts
    return V.select(V.splat(at) + lane_numbers() < V.splat(N), counts, V.splat(0))


def _scaled(x: Operands, tile: V.Expr) -> list[V.Expr]:
    """float32x16 sums times alpha, one an activation row."""
    at = tile + V.i64(FORMAT.scale_offset(x.K))
    alpha = V.let(x.weights.view(at, "float32x16"))
    return [V.let(V.fence(V.cast("float32", c) * alpha)) for c in emit_counts(x, tile)]
