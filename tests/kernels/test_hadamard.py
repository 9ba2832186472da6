"""Hadamard blocks of rows against float64, equal bits on every ISA."""

from __future__ import annotations

import numpy as np
import pytest
from everywhere import aligned, everywhere

from edgeq.errors import UnsupportedError
from edgeq.ir.hadamard import hadamard_matrix
from edgeq.kernels import hadamard as H

CASES = [  # width, size
    (16, 16), (96, 32), (64, 64), (128, 128), (2048, 2048), (192, 192), (960, 320), (576, 576), (1344, 448),
    (1216, 1216),
]  # fmt: skip
KERNELS = {case: H.hadamard(*case) for case in CASES}


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(KERNELS.values())


def table(size):
    return H.signs(size) if H.factors(size)[0] > 1 else None


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-in-{c[1]}")
def test_matches_float64(lib, rng, case):
    width, size = case
    x = rng.normal(size=(5, width)).astype(np.float32)
    x[1], x[2, 0] = 0, 3000
    got = everywhere(lib, KERNELS[case], [(0, 2), (2, 5)], m=5, x=x, w=table(size), o=np.full_like(x, np.nan))["o"]
    expected = H.reference(x, size)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * np.abs(expected).max(1, keepdims=True).max())


@pytest.mark.parametrize("case", [(2048, 2048), (576, 576)], ids=str)
def test_rows_are_computed_alone_and_in_place(lib, rng, case):
    width, size = case
    x = rng.normal(size=(3, width)).astype(np.float32)
    apart = everywhere(lib, KERNELS[case], [(0, 3)], m=3, x=x, w=table(size), o=np.zeros_like(x))["o"]
    for isa in lib.isas:
        for i in range(3):
            memory, w = aligned(x[i]), table(size)
            lib(isa, KERNELS[case], 0, 1, 1, memory, None if w is None else aligned(w), memory)
            assert np.array_equal(memory, apart[i]), isa.name


@pytest.mark.parametrize("case", [(64, 64), (576, 576)], ids=str)
def test_a_unit_vector_gives_a_row_of_the_matrix(lib, case):
    width, size = case
    x = np.zeros((1, width), np.float32)
    x[0, 17] = np.sqrt(np.float32(size))
    got = everywhere(lib, KERNELS[case], [(0, 1)], m=1, x=x, w=table(size), o=np.zeros_like(x))["o"]
    assert np.array_equal(np.rint(got[0]), hadamard_matrix(size)[17])


def test_the_cost_is_declared():
    assert KERNELS[(2048, 2048)].ops == 2048 * 11 and KERNELS[(2048, 2048)].weight_bytes == 0
    assert KERNELS[(576, 576)].ops == 576 * (36 + 4) and KERNELS[(576, 576)].weight_bytes == 4 * 36 * 36


@pytest.mark.parametrize(("width", "size"), [(96, 96), (64, 48), (80, 32), (24, 8)])
def test_refusals(width, size):
    with pytest.raises(UnsupportedError, match="channels in blocks"):
        H.hadamard(width, size)
