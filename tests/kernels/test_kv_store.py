from __future__ import annotations

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.errors import UnsupportedError
from edgeq.kernels import attend, attention, elementwise, heads, kv_store
from edgeq.kernels.kv_cache import KvCache
from edgeq.kernels.transcendental import LOG2E

H, HK, D, Dv, CONTEXT, M = 4, 2, 32, 16, 48, 37
LD = H * D + HK * D + HK * Dv
KINDS = ("f32", "f16", "i8")
STORE = {kv: kv_store.store(HK, D, Dv, LD, kv, CONTEXT) for kv in KINDS}
HEADS = {kv: heads.heads(H, HK, D, Dv, False, False, 0.0, 0.0, 0, kv, CONTEXT, 1.0) for kv in KINDS}
DECODE = {kv: attention.decode(H, HK, D, Dv, H * D, kv, CONTEXT) for kv in KINDS}
SCALE = elementwise.unary(H * D, "scale", D**-0.5 * LOG2E)


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels([*STORE.values(), *HEADS.values(), *DECODE.values(), SCALE])


def caches(kv: str) -> dict[str, np.ndarray]:
    cache = KvCache(HK, D, Dv, kv, CONTEXT)
    scales = {name: np.full(cache.scale_shape, np.nan, np.float32) for name in ("ks", "vs")}
    full = 127 if kv == "i8" else np.nan
    shapes = {"kc": cache.key_shape, "vc": cache.value_shape}
    return {**{name: np.full(shape, full, cache.dtype) for name, shape in shapes.items()}, **scales}


def filled(lib, kv: str, x: np.ndarray, pos: int) -> dict[str, np.ndarray]:
    given = {"k": x[:, H * D :], "v": x[:, (H + HK) * D :]}
    # k and v are parts of one row, as a merged projection leaves them: whole rows from there on, the last one cut
    flat = {
        name: np.append(x.ravel()[x.shape[1] - part.shape[1] :], np.zeros(LD, "f4")) for name, part in given.items()
    }
    after = everywhere(lib, STORE[kv], [(0, 1), (1, HK)], m=len(x), pos=pos, **flat, **caches(kv))
    return {name: after[name] for name in ("kc", "vc", "ks", "vs")}


@pytest.mark.parametrize("kv", KINDS)
def test_stores_what_heads_stores(lib, rng, kv):
    x = rng.normal(size=(M, LD)).astype(np.float32)
    empty = dict.fromkeys(("qw", "kw", "cos", "sin"))
    want = everywhere(lib, HEADS[kv], [(0, H + 2 * HK)], m=M, pos=5, qkv=x, **empty, **caches(kv))
    for name, array in filled(lib, kv, x, 5).items():
        assert array.tobytes() == want[name].tobytes()


@pytest.mark.parametrize("kv", KINDS)
def test_decode_as_cross_attention(lib, rng, kv):
    """All M keys stay where they are while queries come one by one: pos is always the last key's."""
    x, q = rng.normal(size=(M, LD)).astype(np.float32), rng.normal(size=(1, H * D)).astype(np.float32)
    cache, stored = KvCache(HK, D, Dv, kv, CONTEXT), filled(lib, kv, x, 0)
    scaled = everywhere(lib, SCALE, [(0, 1)], m=1, a=q, o=np.zeros_like(q))["o"]
    scratch = np.full(attention.scratch_bytes(CONTEXT) // 4, np.nan, np.float32)
    o = np.zeros(H * Dv, np.float32)
    o = everywhere(lib, DECODE[kv], [(0, 3), (3, H)], pos=M - 1, qkv=scaled, scratch=scratch, o=o, **stored)["o"]
    scales = (stored["ks"], stored["vs"]) if cache.quantized else (None, None)
    k, v = cache.keys(stored["kc"], scales[0])[:, :M], cache.values(stored["vc"], scales[1])[:, :M]
    want = attend.reference(q.reshape(1, 1, H, D), *(y.transpose(1, 0, 2)[None] for y in (k, v)), D**-0.5)
    np.testing.assert_allclose(o, want.ravel(), atol=1e-6)


def test_refuses_heads_that_the_cache_cannot_hold():
    with pytest.raises(UnsupportedError, match="head size is 20"):
        kv_store.store(2, 20, 16, 64, "f16", 64)
