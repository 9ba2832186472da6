from __future__ import annotations

import numpy as np
import pytest
from everywhere import everywhere

from edgeq.kernels import argmax

SIZES = [(37, 48), (64, 64), (5, 16), (1000, 1024)]
KERNELS = {size: argmax.argmax(*size) for size in SIZES}


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(KERNELS.values())


def best(lib, size: tuple[int, int], x: np.ndarray, lo: int, hi: int) -> tuple[float, int]:
    result = everywhere(lib, KERNELS[size], [(lo, hi)], x=x, best=np.zeros(1, "f4"), index=np.zeros(1, "i4"))
    return result["best"][0], result["index"][0]


@pytest.mark.parametrize("size", SIZES)
def test_first_of_equals_and_padding_never_wins(lib, rng, size):
    N, ld = size
    for spread in (0, 1, 3):  # rounded values: many ties, at 0 only ties
        x = np.round(rng.normal(size=ld) * spread).astype(np.float32) - 50
        x[N:] = 1e9
        for lo, hi in ((0, ld // 16), (0, (ld + 31) // 32), (N // 32, ld // 16)):
            assert best(lib, size, x, lo, hi) == argmax.reference(x, N, lo, hi)


def test_nan_and_infinity(lib):
    x = np.full(64, -np.inf, np.float32)
    assert best(lib, (64, 64), x, 1, 4) == (-np.inf, 16)
    x[40], x[3] = np.nan, -1e38
    assert best(lib, (64, 64), x, 0, 4) == (np.float32(-1e38), 3)


def test_empty_range_wins_nothing(lib):
    assert best(lib, (64, 64), np.ones(64, np.float32), 2, 2)[0] == -np.inf
