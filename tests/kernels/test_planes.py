"""Integer linears over bit planes: against exact integers, GEMV against GEMM and every ISA against the others."""

from __future__ import annotations

import numpy as np
import pytest
from everywhere import aligned
from linear_cases import Case
from test_linear_int import gemm_rows, gemv_rows

from edgeq.kernels import linear_int, planes
from edgeq.kernels.epilogue import Epilogue
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack

# format, N, K, rows, epilogue, bias
CASES = [
    ("p2g64", 32, 208, 9, "store", True),
    ("c4g128", 33, 400, 9, "add", True),
    ("c4", 16, 48, 2, "store", False),
]


def kernels(case):
    text, N, K, _, epilogue, bias = case
    args = (N, K, WeightFormat.parse(text), epilogue, bias)
    return linear_int.gemv(*args), linear_int.gemm(*args)


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(k for case in CASES for k in kernels(case))


def make(rng, text, N, K, m) -> Case:
    """Random codes and numbers, some negative; one row of the largest activations."""
    fmt, M, padded = WeightFormat.parse(text), -(-m // 16) * 16, -(-N // 16) * 16
    codes = rng.integers(0, 4, (N, K)).astype(np.uint8)
    codes[0] = 3
    numbers = (rng.standard_normal((N, fmt.groups(K) * fmt.meaning.numbers)) * 0.02).astype(np.float16)
    q = rng.integers(-127, 128, (m, K)).astype(np.int8)
    q[0] = 127
    live = np.arange(padded) < N
    return Case(
        fmt, (codes, numbers, None), aligned(pack(codes, numbers, None, fmt)), q[:, :0].astype(np.float32), q,
        rng.random(m).astype(np.float32), (rng.standard_normal(padded) * live).astype(np.float32),
        (rng.standard_normal((M, padded)) * live).astype(np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}x{c[2]}-{c[4]}")
def test_matches_exact_integers_and_every_variant_agrees(lib, rng, case):
    text, N, K, m, epilogue, with_bias = case
    c = make(rng, text, N, K, m)
    bias, width = c.bias if with_bias else None, Epilogue.parse(epilogue).width(N)
    vector, matrix = kernels(case)
    found = [f(lib, isa, k, c, width, bias) for isa in lib.isas for f, k in ((gemv_rows, vector), (gemm_rows, matrix))]
    assert all(f.tobytes() == found[0].tobytes() for f in found)
    given = (epilogue, c.bias[:N] if with_bias else None, c.r[:m, :N].astype(np.float64))
    want = planes.reference(c.weights[0], c.weights[1], c.fmt, c.q, c.sa, *given)
    assert np.abs(found[0][:, : want.shape[1]] - want).max() <= 3e-6 * np.abs(want).max()
    assert not found[0][:, want.shape[1] :].any()  # pad lanes
