"""Blocks of 4 and 2 bits in numpy: packing, what comes back, and the IR's semantics beside the kernels' numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.ir.ops.attention import visible, weights
from edgeq.ir.ops.kv_blocks import attend_blocks
from edgeq.kernels import kv_blocks
from edgeq.kernels.kv_cache import KvCache
from edgeq.kernels.kv_reference import Caches
from edgeq.kernels.transcendental import LOG2E

BITS = {"i4": 4, "i2": 2}


@given(st.sampled_from([2, 4]), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_packing_is_undone(bits, seed):
    codes = np.random.default_rng(seed).integers(0, 1 << bits, (3, 8, 64), dtype=np.uint8)
    stored = kv_blocks.pack(codes, bits)
    assert stored.nbytes == codes.size * bits // 8
    assert np.array_equal(kv_blocks.unpack(stored, bits), codes)


def filled(kv: str, dim: int, value_dim: int, context: int, seed: int = 0) -> tuple[KvCache, np.ndarray, np.ndarray]:
    """Keys and values of float16: a line of zeros, one of equal numbers, one with an outlier."""
    rng = np.random.default_rng(seed)
    k, v = (rng.normal(size=(2, context, size)).astype(np.float16) for size in (dim, value_dim))
    for x in (k, v):
        x[:, 3], x[:, :, 5], x[:, 32:64, 7] = 0, 1.5, 0
        x[:, 40, 2] = 60
    return KvCache(2, dim, value_dim, kv, context), k, v


@pytest.mark.parametrize("kv", BITS)
@pytest.mark.parametrize(("dim", "value_dim"), [(16, 48), (64, 32)])
def test_what_comes_back_is_within_half_a_step(kv, dim, value_dim):
    cache, k, v = filled(kv, dim, value_dim, 96)
    blocks = cache.blocks
    codes, scale, low = kv_blocks.unpack_keys(blocks, kv_blocks.pack_keys(blocks, k))
    found = codes * scale[:, :, None] + low[:, :, None]
    # half a step, and what float16 rounds off a scale, up to the top code
    room = scale[:, :, None] * (0.5 + blocks.top * 2**-11) + 1e-6
    assert (np.abs(found - k.reshape(found.shape)) <= room).all()
    assert (codes.min((2,)) == 0).all()
    codes, scale, low = kv_blocks.unpack_values(blocks, kv_blocks.pack_values(blocks, v))
    split = codes.reshape(*codes.shape[:3], blocks.groups, -1)
    scale, low = (x.swapaxes(-1, -2)[..., None] for x in (scale, low))
    room = scale * (0.5 + blocks.top * 2**-11) + 1e-6
    assert (np.abs(split * scale + low - v.reshape(split.shape)) <= room).all()


@pytest.mark.parametrize("kv", BITS)
def test_the_ir_s_semantics_are_the_kernels(kv):
    cache, k, v = filled(kv, 32, 48, 256)
    rows, first = 40, 180
    q = np.random.default_rng(1).normal(size=(rows, 4, 32)).astype(np.float32)
    kc, vc = kv_blocks.pack_keys(cache.blocks, k), kv_blocks.pack_values(cache.blocks, v)
    ring = k.reshape(2, -1, 16, 32).swapaxes(-1, -2)
    want = Caches(cache, kc, vc, ring, v).attend(q * np.float32(LOG2E), first)
    query = torch.arange(first, first + rows)

    def weigh(scores: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        return weights(scores, visible(query, scores.shape[-1], causal=True, left=-1, right=-1), None, None, 0.0)

    held = (torch.tensor(x, dtype=torch.float64)[None] for x in (k, v))
    got = attend_blocks(torch.tensor(q, dtype=torch.float64).transpose(0, 1)[None], *held, query, BITS[kv], weigh)
    error = np.abs(got[0].transpose(0, 1).numpy() - want.out)
    # a query's code half way between two may differ by the rounding of its scale by log2(e)
    assert np.quantile(error - want.slack, 0.99) <= 1e-4 * np.abs(want.out).max()
    assert error.max() <= 1e-2 * np.abs(want.out).max()
