"""References of attention: heads prepared and cached, then read back."""

from __future__ import annotations

import numpy as np

from edgeq.kernels import attention as attention_kernels
from edgeq.kernels import heads as heads_kernels
from edgeq.kernels.kv_cache import KvCache
from replay.expected import Expected, rows_of
from replay.linears import Expectations
from replay.step import Arguments


def heads(a: Arguments) -> Expectations:
    """q, k and v in float64 against the rows; then the caches, which must hold those very rows, bit for bit."""
    o, m, pos = a.options, a.rows, a.scalar("pos")
    H, HK, D, Dv = o["H"], o["HK"], o["D"], o["Dv"]
    ld = (H + HK) * D + HK * Dv
    for part, columns in zip(_reference(a, ld), _columns(H, HK, D, Dv), strict=True):
        index = rows_of(m, ld)[:, columns].reshape(part.shape)
        rows = yield Expected("qkv", index, part, np.float32)
        if columns.start:
            yield from _cached(_cache(a), "v" if columns.stop == ld else "k", rows, pos)


def attention(a: Arguments) -> Expectations:
    """Softmax attention over the caches as they are."""
    o, m, pos = a.options, a.rows, a.scalar("pos")
    H, D, Dv, ld, cache = o["H"], o["D"], o["Dv"], o["ld"], _cache(a)
    q = a.read("qkv", np.float32, (m, ld))[:, : H * D].reshape(m, H, D)
    ks, vs = (a.read(n, np.float32, cache.scale_shape) if cache.quantized else None for n in ("ks", "vs"))
    keys = cache.keys(a.read("kc", cache.dtype, cache.key_shape), ks)[:, : pos + m]
    values = cache.values(a.read("vc", cache.dtype, cache.value_shape), vs)[:, : pos + m]
    want = attention_kernels.reference(q, keys, values, pos, o["left"], o["softcap"])
    yield Expected("o", rows_of(m, H * Dv).reshape(m, H, Dv), want, np.float32)


def _reference(a: Arguments, ld: int) -> tuple[np.ndarray, ...]:
    o = a.options
    qw, kw = (a.optional(n, np.float32, (o["D"],)) for n in ("qw", "kw"))
    tables = [a.optional(n, np.float32, (o["context"], o["rope_dims"] // 2)) for n in ("cos", "sin")]
    x = a.read("qkv", np.float32, (a.rows, ld))
    sizes = o["H"], o["HK"], o["D"], o["eps"], o["offset"], o["rope_dims"], o["q_scale"]
    return heads_kernels.reference(x, qw, kw, *tables, a.scalar("pos"), *sizes)


def _columns(H: int, HK: int, D: int, Dv: int) -> tuple[slice, slice, slice]:
    """Columns of q, k and v in a row."""
    k, v = H * D, (H + HK) * D
    return slice(0, k), slice(k, v), slice(v, v + HK * Dv)


def _cache(a: Arguments) -> KvCache:
    o = a.options
    return KvCache(o["HK"], o["D"], o["Dv"], o["kv"], o["context"])


def _cached(cache: KvCache, name: str, rows: np.ndarray, pos: int) -> Expectations:
    """rows f32[m][HK][dim] as stored at positions pos.."""
    codes, scales = cache.store(np.ascontiguousarray(rows))
    at = cache.key_at if name == "k" else cache.value_at
    yield Expected(f"{name}c", at(*_grid(rows.shape, pos)), codes, cache.dtype, "exact")
    if scales is not None:
        yield Expected(f"{name}s", cache.scale_at(*_grid(rows.shape[:2], pos)), scales, np.float32, "exact")


def _grid(shape: tuple[int, ...], pos: int) -> list[np.ndarray]:
    """head, position (and channel) of each element of [m][HK](dim)."""
    row, head, *channel = np.indices(shape)
    return [head, row + pos, *channel]
