from __future__ import annotations

import numpy as np
import pytest
from everywhere import everywhere
from linear_cases import make

from edgeq.kernels import embed
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack

CASES = [  # (N, K, format, scale): whole and ragged groups, last blocks of 1..4 groups, padded rows
    (37, 96, "w4g32", 1.0), (64, 576, "w8g32", 24.0), (48, 208, "w8g128", 1.0), (40, 176, "w8g32a", 3.0),
    (48, 208, "w4g128a", 1.0), (64, 288, "w4g64a", 1.0), (33, 80, "w8", 1.0), (33, 80, "w4a", 1.0),
    (33, 80, "f16", 2.0), (33, 48, "f32", 1.0),
    (40, 176, "w4g32m", 3.0), (33, 80, "w2g64a", 1.0), (33, 112, "w3g64", 1.0), (33, 48, "w1", 1.0),
    (33, 176, "t1.6g128", 1.0), (33, 80, "nf4g64", 2.0), (40, 176, "mxfp4", 1.0), (33, 512, "fp8", 1.0),
    (33, 512, "fp8e5g256", 1.0), (33, 80, "nf4g32m", 1.0), (33, 80, "w8g16", 1.0),
]  # fmt: skip
KERNELS = [embed.embed(N, K, WeightFormat.parse(fmt), scale) for N, K, fmt, scale in CASES]
POSITIONS = embed.positions(64, 2)
RAGGED, RAGGED_POSITIONS = embed.embed(20, 40, WeightFormat.parse("f32")), embed.positions(40, 0)


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels([*KERNELS, POSITIONS, RAGGED, RAGGED_POSITIONS])


@pytest.mark.parametrize(("case", "kernel"), list(zip(CASES, KERNELS, strict=True)), ids=[k.name for k in KERNELS])
def test_gathers_rows(lib, rng, case, kernel):
    N, K, fmt, scale = case
    weight = make(rng, fmt, N, K, 1)
    ids = np.array([0, 15, 16, N - 1, 3, 17, N - 1], np.int32)
    o = everywhere(lib, kernel, [(0, 3), (3, 7)], m=7, ids=ids, w=weight.packed, o=np.zeros((7, K), "f4"))["o"]
    np.testing.assert_allclose(o, embed.reference(ids, weight.dequantized(), scale), rtol=1e-6)
    if scale == 1.0:  # a level times its scale needs no rounding, and an offset one
        assert np.array_equal(o, weight.dequantized()[ids])


def test_positions(lib, rng):
    x, w = rng.normal(size=(3, 64)).astype("f4"), rng.normal(size=(40, 64)).astype("f4")
    o = everywhere(lib, POSITIONS, [(0, 2), (2, 3)], m=3, pos=9, w=w, x=x, o=np.zeros_like(x))["o"]
    assert np.array_equal(o, x + w[11:14])


def test_ragged_rows_are_padded_with_zeros(lib, rng):
    weight = np.pad(rng.normal(size=(20, 40)).astype("f4"), ((0, 0), (0, 8)))
    data, ids = pack(weight, None, None, WeightFormat.parse("f32")), np.array([19, 0, 16], np.int32)
    o = everywhere(lib, RAGGED, [(0, 3)], m=3, ids=ids, w=data, o=np.full((3, 48), np.nan, "f4"))["o"]
    assert np.array_equal(o, weight[ids])
    x = np.pad(rng.normal(size=(3, 40)).astype("f4"), ((0, 0), (0, 8)))
    o = everywhere(lib, RAGGED_POSITIONS, [(0, 3)], m=3, pos=1, w=weight, x=x, o=np.full((3, 48), np.nan, "f4"))["o"]
    assert np.array_equal(o, x + weight[1:4])
