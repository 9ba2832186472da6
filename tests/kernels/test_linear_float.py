"""Linears with float activations: against float64, GEMV against GEMM and every ISA against the others bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from everywhere import aligned
from linear_cases import Case, make, padded_rows

from edgeq.errors import UnsupportedError
from edgeq.kernels import linear_float
from edgeq.kernels.epilogue import Epilogue
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack

# format, N, K, rows, epilogue, bias
CASES = [
    ("f32", 50, 48, 3, "store", False),
    ("f32", 64, 576, 19, "gated:silu", True),
    ("f16", 17, 208, 5, "add", False),
    ("w4g32", 32, 336, 6, "store", True),
    ("w4g128a", 33, 576, 4, "add", True),
    ("w4", 16, 16, 1, "act:gelu", False),
    ("w8", 64, 80, 17, "gated:gelu_tanh", False),
    ("w8g32a", 48, 176, 2, "store", False),
    ("w4g32m", 16, 48, 2, "store", True),
    ("w8g64m", 16, 32, 2, "store", False),
    ("w2g64a", 16, 64, 2, "store", False),
    ("w3g64", 16, 64, 2, "store", False),
    ("w1", 16, 48, 2, "store", False),
    ("t1.6g128", 16, 128, 2, "store", False),
    ("nf4g64", 16, 64, 5, "store", False),
    ("nf4g32m", 16, 32, 2, "store", False),
    ("mxfp4", 16, 48, 2, "store", False),
    ("fp8", 16, 32, 2, "store", False),
    ("fp8e5g32", 16, 32, 2, "store", False),
]


def kernels(case: tuple) -> tuple:
    text, N, K, _, epilogue, bias = case
    args = (N, K, WeightFormat.parse(text), epilogue, bias)
    return linear_float.gemv(*args), linear_float.gemm(*args)


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(k for case in CASES for k in kernels(case))


def results(lib, case: tuple, c: Case) -> Iterator[np.ndarray]:
    epilogue, bias = case[4], c.bias if case[5] else None
    width, m = Epilogue.parse(epilogue).width(case[1]), len(c.x)
    vector, matrix = kernels(case)
    for isa in lib.isas:
        rows = []
        for i in range(m):
            o = aligned(np.ascontiguousarray(c.r[i, :width]))
            lib(isa, vector, 0, width // 16, c.packed, bias, aligned(c.x[i]), o, o)
            rows.append(o)
        yield np.stack(rows)
        o = aligned(np.ascontiguousarray(c.r[:, :width]))
        for lo, hi in ((0, width // 32), (width // 32, width // 16)):
            lib(isa, matrix, lo, hi, m, c.packed, bias, padded_rows(c.x), o, o)
        yield o[:m]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}x{c[2]}-{c[4]}")
def test_matches_float64_and_every_variant_agrees(lib, rng, case):
    text, N, K, m, epilogue, bias = case
    c = make(rng, text, N, K, m)
    found = list(results(lib, case, c))
    assert all(f.tobytes() == found[0].tobytes() for f in found)
    want = linear_float.reference(
        c.dequantized(), c.x, epilogue, c.bias[:N] if bias else None, c.r[:m, :N].astype(np.float64)
    )
    error = np.abs(found[0][:, : want.shape[1]] - want).max()
    assert error <= 2e-6 * np.abs(want).max()
    assert not found[0][:, want.shape[1] :].any()  # pad lanes


def test_integers_come_out_exact(lib, rng):
    """Small integers in x and unit scales: no rounding anywhere, so equality with integer arithmetic."""
    case = next(c for c in CASES if c[0] == "w8g32a")
    c = make(rng, *case[:4])
    codes, scale, zero = c.weights
    c.packed = aligned(pack(codes, np.ones_like(scale), zero, c.fmt))
    c.x = rng.integers(-8, 9, c.x.shape).astype(np.float32)
    c.weights = (codes, np.ones_like(scale), zero)
    for found in results(lib, case, c):
        assert np.array_equal(found[:, : case[1]], c.x @ c.dequantized().T)


@pytest.mark.parametrize("text", ["p2g64", "c4g128"])
def test_formats_of_several_numbers_a_group_are_refused(text):
    with pytest.raises(UnsupportedError, match="int8 activations"):
        linear_float.gemv(16, 128, WeightFormat.parse(text))


def test_widths_that_are_not_whole_vectors_are_refused():
    with pytest.raises(UnsupportedError, match="multiple of 16"):
        linear_float.gemv(16, 20, WeightFormat.parse("f32"))
