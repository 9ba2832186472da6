"""What happens to q, k and v between their projection and attention, in one pass over the heads of a row.

q and k: optional RMS norm of each head, optional rotary embedding (rotate-half on the first `rope_dims` channels); q is
scaled and stays in place, k and v go to the caches. A unit is a head of H + HK + HK, all m rows of it, so threads share
nothing. Channels are taken as many lanes at a time as divide them (a rotary half may be 4 or 8): without sums, lanes do
not matter to the bits. The norm's sum has `norm`'s order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels import norm
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.kv_cache import KvCache
from edgeq.kernels.kv_store import Writer
from edgeq.kernels.naming import symbol
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    fence,
    fma,
    function,
    i32,
    let,
    loop,
    maximum,
    minimum,
    splat,
)
from edgeq.targets.isa import Isa

_POINTERS = ("qkv", "qw", "kw", "cos", "sin", "kc", "vc", "ks", "vs")
_ACCESS = ("inout", "weight", "weight", "weight", "weight", "inout", "inout", "inout", "inout")


@factory
def heads(
    H: int, HK: int, D: int, Dv: int, q_norm: bool, k_norm: bool, eps: float, offset: float, rope_dims: int, kv: str,
    context: int, q_scale: float, ring: int = 0,
) -> Kernel:  # fmt: skip
    """Rows `f32[m][H*D + HK*D + HK*Dv]` at positions pos..pos+m-1: q in place (times q_scale), k and v to the caches.

    Parameters m, pos, qkv, qw, kw, cos, sin, kc, vc, ks, vs; qw, kw: f32[D]; cos, sin: f32[context][rope_dims / 2].
    The k part of qkv is overwritten too. `ring`: of caches by blocks (`kv_cache.KvCache`). Raises
    UnsupportedError for sizes that are no multiples of 16 or a `rope_dims` that is no multiple of 8.
    """
    cache = KvCache(HK, D, Dv, kv, context, ring)
    if rope_dims % 8 or not 0 <= rope_dims <= D:
        raise UnsupportedError(f"rotary embedding of {rope_dims} channels in heads of {D}: need 8 n up to {D}")
    norms = f"{'q' * q_norm}{'k' * k_norm}" or "n"
    name = symbol("heads", H, HK, D, Dv, norms, float(eps), float(offset), rope_dims, kv, context, float(q_scale))
    name = f"{name}_{ring}" if ring else name
    turn = _Rotation(D, rope_dims, float(eps), float(offset))
    ld = (H + HK) * D + HK * Dv

    def body(
        isa: Isa, lo: Expr, hi: Expr, m: Expr, pos: Expr, x: Memory, qw: Memory, kw: Memory, cos: Memory, sin: Memory,
        kc: Memory, vc: Memory, ks: Memory, vs: Memory,
    ) -> None:  # fmt: skip
        with loop(_at_most(lo, H), _at_most(hi, H)) as h, loop(0, m) as r:
            turn.emit(x, let(r * ld + h * D), qw if q_norm else None, cos, sin, pos + r, float(q_scale))
        writer = Writer(cache, isa, pos, m, kc, vc, ks, vs)
        with loop(_between(lo, H, HK), _between(hi, H, HK)) as h:
            with loop(0, m) as r:
                at = let(r * ld + (H + h) * D)
                turn.emit(x, at, kw if k_norm else None, cos, sin, pos + r, 1.0)
                writer.key(x, at, h, r)
            writer.key_blocks(h)
        with loop(_between(lo, H + HK, HK), _between(hi, H + HK, HK)) as h:
            with loop(0, m) as r:
                writer.value(x, let(r * ld + (H + HK) * D + h * Dv), h, r)
            writer.value_blocks(h)

    def build(isa: Isa) -> Any:
        types = dict.fromkeys(_POINTERS, "float32") | cache.pointers(written=True)
        return function(name, isa, ["m", "pos"], types, partial(body, isa))

    params = (Param(p, a) for p, a in zip(_POINTERS, _ACCESS, strict=True))
    return Kernel(name, (Param("m", "value"), Param("pos", "value"), *params), build, "head of H + HK + HK")


class _Rotation:
    """Norm, rotary embedding and scaling of one head in place."""

    def __init__(self, D: int, rope_dims: int, eps: float, offset: float):
        self.D, self.half, self.eps, self.offset = D, rope_dims // 2, eps, offset

    def emit(
        self, x: Memory, at: Expr, weight: Memory | None, cos: Memory, sin: Memory, position: Expr, scale: float
    ) -> None:
        """Head at element `at` of x; `weight` None: no norm."""
        factor = None if weight is None else norm.inverse_rms(x.vector, at, self.D, self.eps)

        def load(i: Expr, lanes: int) -> Expr:
            v = x.vector(at + i, lanes)
            if weight is None or factor is None:
                return let(v)
            gain = weight.vector(i, lanes) + splat(self.offset, lanes) if self.offset else weight.vector(i, lanes)
            return let(fence(fence(v * splat(factor, lanes)) * gain))

        def store(i: Expr, value: Expr, lanes: int) -> None:
            x.store(at + i, value if scale == 1.0 else value * splat(scale, lanes))

        self._rotate(load, store, cos, sin, let(position * self.half))
        if self.half * 2 < self.D and (weight is not None or scale != 1.0):
            lanes = _lanes(self.D - 2 * self.half)
            with loop(0, (self.D - 2 * self.half) // lanes) as i:
                store(2 * self.half + i * lanes, load(2 * self.half + i * lanes, lanes), lanes)

    def _rotate(
        self, load: Callable[..., Expr], store: Callable[..., None], cos: Memory, sin: Memory, table: Expr
    ) -> None:
        half = self.half
        if not half:
            return
        lanes = _lanes(half)
        with loop(0, half // lanes) as i:
            a, b = load(i * lanes, lanes), load(i * lanes + half, lanes)
            c, s = let(cos.vector(table + i * lanes, lanes)), let(sin.vector(table + i * lanes, lanes))
            store(i * lanes, fma(b, s * splat(-1.0, lanes), fence(a * c)), lanes)
            store(i * lanes + half, fma(b, c, fence(a * s)), lanes)


def reference(
    qkv: np.ndarray, qw: np.ndarray | None, kw: np.ndarray | None, cos: np.ndarray | None, sin: np.ndarray | None,
    pos: int, H: int, HK: int, D: int, eps: float, offset: float, rope_dims: int, q_scale: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """q [m][H][D], k [m][HK][D], v [m][HK][Dv] in float64, before they are stored."""
    x, m = np.asarray(qkv, np.float64), len(qkv)

    def turn(y: np.ndarray, w: np.ndarray | None) -> np.ndarray:
        y = y if w is None else norm.reference(y.reshape(-1, D), w, None, "rms", eps, offset).reshape(y.shape)
        if not rope_dims:
            return y
        c, s = (np.asarray(t, np.float64)[pos : pos + m, None] for t in (cos, sin))
        a, b, rest = np.split(y, [rope_dims // 2, rope_dims], -1)
        return np.concatenate([a * c - b * s, b * c + a * s, rest], -1)

    q, k, v = (t.reshape(m, n, -1) for t, n in zip(np.split(x, [H * D, (H + HK) * D], 1), (H, HK, HK), strict=True))
    return turn(q, qw) * q_scale, turn(k, kw), v


def _lanes(size: int) -> int:
    """Lanes that divide `size`."""
    return math.gcd(size, LANES)


def _at_most(i: Expr, n: int) -> Expr:
    return let(minimum(i, i32(n)))


def _between(i: Expr, first: int, count: int) -> Expr:
    """i as an index into [first, first + count), clamped to 0..count."""
    return let(minimum(maximum(i - first, i32(0)), i32(count)))
