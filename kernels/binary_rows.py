"""Rows of floats -> one sign bit each and one scale a row (XNOR-Net, Rastegari et al. 2016), as the binary linears read
them: `x ~ sa * sign(x)`, `sa = mean |x|`, sign of 0 is +1. `pack_row` (decode) and `pack_rows` agree bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeq.kernels import vector as V
from edgeq.kernels.binary_pack import BLOCK, FORMAT, WORD_BITS, copies, pack_signs, rows, words
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.lanes import lane_numbers
from edgeq.kernels.naming import padded, symbol
from edgeq.targets.isa import Isa

_CHAINS = 4  # accumulators of a row's sum, joined (0 + 1) + (2 + 3)
_POINTERS = {"x": "float32", "q": "int32", "sa": "float32"}
_PARAMS = (Param("x", "in"), Param("q", "out"), Param("sa", "out"))


@factory
def pack_row(K: int) -> Kernel:
    """One row; call with (0, 1). C parameters: x f32[padded(K)], q u32[words][C], sa f32[1].

    Raises UnsupportedError for a K that `binary_pack` cannot hold.
    """
    FORMAT.check_width(K)
    name = symbol("pack_row", K)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, x: V.Memory, q: V.Memory, sa: V.Memory) -> None:
            sa.store(V.i32(0), _mean(x, V.i32(0), K))
            _pack(isa, K, x, V.i32(0), q, V.i32(0), 1)

        return V.function(name, isa, (), _POINTERS, body)

    return Kernel(name, _PARAMS, build, "all")


@factory
def pack_rows(K: int) -> Kernel:
    """`pack_row` for the m rows of a chunk, in the GEMM's layout; unit: block of 16 rows, rows >= m become zero.

    C parameters: m, x f32[m][padded(K)], q u32[M/R][words][R][C], sa f32[M].
    """
    FORMAT.check_width(K)
    name = symbol("pack_rows", K)

    def build(isa: Isa) -> Any:
        def body(lo: V.Expr, hi: V.Expr, m: V.Expr, x: V.Memory, q: V.Memory, sa: V.Memory) -> None:
            R, C = rows(isa), copies(isa)
            with V.loop(lo * V.i32(BLOCK), hi * V.i32(BLOCK)) as i:
                start = V.let(i * V.i32(padded(K)))
                first = V.let(((i // V.i32(R)) * V.i32(words(K) * R) + i % V.i32(R)) * V.i32(C))

                def fill() -> None:
                    sa.store(i, _mean(x, start, K))
                    _pack(isa, K, x, start, q, first, R)

                def clear() -> None:
                    sa.store(i, V.f32(0))
                    with V.loop(0, words(K)) as w:
                        _store(isa, q, first + w * V.i32(R * C), V.i32(0))

                V.branch(i < m, fill, clear)

        return V.function(name, isa, ("m",), _POINTERS, body)

    return Kernel(name, (Param("m", "value"), *_PARAMS), build, "16 rows")


def reference(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f32[M, K] -> (uint32[M, words], mean |x| f64[M])."""
    return pack_signs(x), np.abs(np.asarray(x, np.float64)).mean(-1)


def _mean(x: V.Memory, start: V.Expr, K: int) -> V.Expr:
    """mean |x| of the row at `start` (its pad lanes are zeros); `_CHAINS` accumulators of 16 lanes, one fixed tree."""
    chains = [V.Reg("float32", V.splat(0.0)) for _ in range(_CHAINS)]
    whole, rest = divmod(padded(K) // V.LANES, _CHAINS)

    def add(chain: int, vector: V.Expr) -> None:
        chains[chain].set(chains[chain].v + V.absolute(x.vector(start + vector * V.i32(V.LANES))))

    if whole:
        with V.loop(0, whole) as i:
            for c in range(_CHAINS):
                add(c, i * V.i32(_CHAINS) + V.i32(c))
    for c in range(rest):
        add(c, V.i32(whole * _CHAINS + c))
    halves = [V.let(chains[0].v + chains[1].v), V.let(chains[2].v + chains[3].v)]
    return V.let(V.sum16(halves[0] + halves[1]) * V.f32(1 / K))


def _pack(isa: Isa, K: int, x: V.Memory, start: V.Expr, q: V.Memory, first: V.Expr, R: int) -> None:
    """Store the signs of the row at `start`, its words R * C apart from index `first` on."""
    whole, rest, step = K // WORD_BITS, K % WORD_BITS, R * copies(isa)
    if whole:
        with V.loop(0, whole) as w:
            _store(isa, q, first + w * V.i32(step), _word(x, V.let(start + w * V.i32(WORD_BITS)), WORD_BITS))
    if rest:
        _store(isa, q, first + V.i32(whole * step), _word(x, start + V.i32(whole * WORD_BITS), rest))


def _word(x: V.Memory, at: V.Expr, count: int) -> V.Expr:
    """int32: signs of elements at .. at + count - 1, count <= 32."""
    bits = _bits(x.vector(at), 0, count)
    if count > V.LANES:
        bits = bits | _bits(x.vector(at + V.i32(V.LANES)), V.LANES, count - V.LANES)
    return V.sum16(bits)  # no two lanes have a bit in common


def _bits(values: V.Expr, first: int, count: int) -> V.Expr:
    """int32x16: bit `first + lane` in each of the first `count` lanes that is not negative."""
    lanes, none = lane_numbers(), V.splat(0)
    mine = V.splat(1) << (lanes + V.splat(first))
    if count < V.LANES:
        mine = V.select(lanes < V.splat(count), mine, none)
    return V.select(values >= V.splat(0.0), mine, none)


def _store(isa: Isa, q: V.Memory, at: V.Expr, word: V.Expr) -> None:
    count = copies(isa)
    q.store(at, word if count == 1 else V.splat(word, count))
