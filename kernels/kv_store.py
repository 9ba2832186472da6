"""Rows of keys and values -> the caches, as they are stored; alone as a kernel, that fills cross-attention's caches."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgeq.kernels.half import half_bits
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.kv_cache import TINY, KvCache
from edgeq.kernels.naming import symbol
from edgeq.kernels.vector import (
    LANES,
    Expr,
    Memory,
    Reg,
    absolute,
    cast,
    f32,
    fence,
    function,
    let,
    loop,
    max16,
    maximum,
    part,
    rint,
    splat,
)
from edgeq.targets.isa import Isa

_POINTERS = ("k", "v", "kc", "vc", "ks", "vs")


@factory
def store(HK: int, D: int, Dv: int, ld: int, kv: str, context: int) -> Kernel:
    """Rows of k and v -> positions pos..pos+m-1 of the caches; parameters m, pos, k, v, kc, vc, ks, vs; unit: key head.

    k: f32[m][ld], head h at h*D; v: f32[m][ld], head h at h*Dv. Caches as `kv_cache.KvCache`, which raises
    UnsupportedError for sizes that it cannot hold. What it stores, `heads` stores bit for bit.
    """
    cache = KvCache(HK, D, Dv, kv, context)
    name = symbol("kv_store", HK, D, Dv, ld, kv, context)

    def body(isa: Isa, lo: Expr, hi: Expr, m: Expr, pos: Expr, k: Memory, v: Memory, *caches: Memory) -> None:
        kc, vc, ks, vs = caches
        with loop(lo, hi) as h, loop(0, m) as r:
            row, position = let(r * ld), let(pos + r)
            store_key(cache, isa, k, let(row + h * D), h, position, kc, ks)
            store_value(cache, isa, v, let(row + h * Dv), h, position, vc, vs)

    def build(isa: Isa) -> Any:
        stored = "int16" if kv == "f16" else cache.dtype  # halves are written as bits
        types = {p: stored if p in ("kc", "vc") else "float32" for p in _POINTERS}
        return function(name, isa, ["m", "pos"], types, partial(body, isa))

    params = (Param(p, "in" if p in "kv" else "inout") for p in _POINTERS)
    return Kernel(name, (Param("m", "value"), Param("pos", "value"), *params), build, "key head")


def store_key(
    cache: KvCache, isa: Isa, x: Memory, at: Expr, head: Expr, position: Expr, kc: Memory, ks: Memory
) -> None:
    """Emit: the D floats at element `at` of x -> key cache of a head and position."""
    to = let(cache.key_at(head, position, 0))
    inverse = _scale(cache, x, at, cache.key_dim, head, position, ks)
    with loop(0, cache.key_dim // LANES) as i:
        codes = let(_codes(cache, isa, x.vector(at + i * LANES), inverse))
        for lane in range(LANES):  # channels lie 16 positions apart
            kc.store(to + (i * LANES + lane) * LANES, part(codes, lane, 1))


def store_value(
    cache: KvCache, isa: Isa, x: Memory, at: Expr, head: Expr, position: Expr, vc: Memory, vs: Memory
) -> None:
    """Emit: the Dv floats at element `at` of x -> value cache of a head and position."""
    to = let(cache.value_at(head, position, 0))
    inverse = _scale(cache, x, at, cache.value_dim, head, position, vs)
    with loop(0, cache.value_dim // LANES) as i:
        vc.store(to + i * LANES, _codes(cache, isa, x.vector(at + i * LANES), inverse))


def _scale(cache: KvCache, x: Memory, at: Expr, size: int, head: Expr, position: Expr, scales: Memory) -> Expr | None:
    """For i8: store the row's scale and return 127 / absmax."""
    if not cache.quantized:
        return None
    top = Reg("float32", splat(TINY))
    with loop(0, size // LANES) as i:
        top.set(maximum(absolute(x.vector(at + i * LANES)), top.v))
    absmax = let(max16(top.v))
    scales.store(cache.scale_at(head, position), absmax * f32(1 / 127))
    return let(f32(127.0) / absmax)


def _codes(cache: KvCache, isa: Isa, value: Expr, inverse: Expr | None) -> Expr:
    """16 floats as the cache stores them."""
    if inverse is not None:
        return cast("int8", rint(fence(value * splat(inverse))))
    return half_bits(isa, value) if cache.kv == "f16" else value
