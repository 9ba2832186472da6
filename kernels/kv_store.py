"""Rows of keys and values -> the caches, as they are stored; alone as a kernel, that fills cross-attention's caches."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgeq.kernels.half import half_bits
from edgeq.kernels.kernel import Kernel, Param, factory
from edgeq.kernels.kv_cache import TINY, KvCache
from edgeq.kernels.kv_quantize import BlockWriter
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
    i32,
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
def store(HK: int, D: int, Dv: int, ld: int, kv: str, context: int, ring: int = 0) -> Kernel:
    """Rows of k and v -> positions pos..pos+m-1 of the caches; parameters m, pos, k, v, kc, vc, ks, vs; unit: key head.

    k: f32[m][ld], head h at h*D; v: f32[m][ld], head h at h*Dv. Caches as `kv_cache.KvCache`, which raises
    UnsupportedError for sizes that it cannot hold. What it stores, `heads` stores bit for bit. `ring`: of caches by
    blocks.
    """
    cache = KvCache(HK, D, Dv, kv, context, ring)
    name = symbol("kv_store", HK, D, Dv, ld, kv, context, *([ring] if ring else []))

    def body(isa: Isa, lo: Expr, hi: Expr, m: Expr, pos: Expr, k: Memory, v: Memory, *caches: Memory) -> None:
        writer = Writer(cache, isa, pos, m, *caches)
        with loop(lo, hi) as h:
            with loop(0, m) as r:
                row = let(r * ld)
                writer.key(k, let(row + h * D), h, r)
                writer.value(v, let(row + h * Dv), h, r)
            writer.key_blocks(h)
            writer.value_blocks(h)

    def build(isa: Isa) -> Any:
        types = dict.fromkeys(_POINTERS, "float32") | cache.pointers(written=True)
        return function(name, isa, ["m", "pos"], types, partial(body, isa))

    params = (Param(p, "in" if p in "kv" else "inout") for p in _POINTERS)
    return Kernel(name, (Param("m", "value"), Param("pos", "value"), *params), build, "key head")


class Writer:
    """Emits what puts rows 0..m-1, at positions pos.., into caches; memories as `KvCache.pointers(written=True)`."""

    def __init__(
        self, cache: KvCache, isa: Isa, pos: Expr, m: Expr, kc: Memory, vc: Memory, ks: Memory, vs: Memory
    ) -> None:
        self.cache, self.isa, self.pos, self.m = cache, isa, pos, m
        self.blocks = BlockWriter(cache.blocks, isa) if cache.blocks else None
        self.kc, self.vc, self.ks, self.vs = kc, vc, ks, vs

    def key(self, x: Memory, at: Expr, head: Expr, row: Expr) -> None:
        """The D floats at element `at` of x."""
        kc = self.ks if self.blocks else self.kc
        _store_key(self.cache.floats, self.isa, x, at, head, self._slot(row), kc, self.ks)

    def value(self, x: Memory, at: Expr, head: Expr, row: Expr) -> None:
        """The Dv floats at element `at` of x."""
        vc = self.vs if self.blocks else self.vc
        _store_value(self.cache.floats, self.isa, x, at, head, self._slot(row), vc, self.vs)

    def key_blocks(self, head: Expr) -> None:
        """After all rows: key blocks of this head that are whole now."""
        if self.blocks:
            self.blocks.keys(head, self.pos, self.m, self.ks, self.kc)

    def value_blocks(self, head: Expr) -> None:
        """After all rows: value blocks of this head that are whole now."""
        if self.blocks:
            self.blocks.values(head, self.pos, self.m, self.vs, self.vc)

    def _slot(self, row: Expr) -> Expr:
        position = let(self.pos + row)
        wraps = self.cache.blocks is not None and self.cache.blocks.wraps
        return let(position % i32(self.cache.floats.context)) if wraps else position


def _store_key(
    cache: KvCache, isa: Isa, x: Memory, at: Expr, head: Expr, position: Expr, kc: Memory, ks: Memory
) -> None:
    """Emit: the D floats at element `at` of x -> key cache of a head and position."""
    to = let(cache.key_at(head, position, 0))
    inverse = _scale(cache, x, at, cache.key_dim, head, position, ks)
    with loop(0, cache.key_dim // LANES) as i:
        codes = let(_codes(cache, isa, x.vector(at + i * LANES), inverse))
        for lane in range(LANES):  # channels lie 16 positions apart
            kc.store(to + (i * LANES + lane) * LANES, part(codes, lane, 1))


def _store_value(
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
