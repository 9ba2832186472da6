"""Row quantization: codes and scales against float64, one row against a chunk bit for bit, on every ISA."""

from __future__ import annotations

import numpy as np
import pytest
from everywhere import aligned
from linear_cases import padded_rows

from edgeq.errors import UnsupportedError
from edgeq.kernels import quantize as Q
from edgeq.targets import x86_64

# K, group size, zero, norm, eps, offset, rows
CASES = [
    (48, 32, 8, None, 0.0, 0.0, 3),
    (16, 0, 128, None, 0.0, 0.0, 1),
    (576, 128, 1, "rms", 1e-5, 0.0, 5),
    (80, 32, 8, "rms", 1e-6, 1.0, 16),
    (1040, 0, 128, "layer", 1e-5, 0.0, 35),
]


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(k for c in CASES for k in (Q.quantize(*c[:6]), Q.quantize_rows(*c[:6])))


def rows_of(rng, case):
    K, m = case[0], case[6]
    x = (rng.standard_normal((m, K)) * 3).astype(np.float32)
    if m > 2:
        x[1] = 0
    return x, (rng.standard_normal(K) + 1).astype(np.float32), rng.standard_normal(K).astype(np.float32)


def one_by_one(lib, isa, case, x, nw, nb):
    K, size = case[:2]
    out = np.zeros(x.shape, np.int8), np.zeros((len(x), -(-K // (size or K))), np.int32), np.zeros(len(x), np.float32)
    for i in range(len(x)):
        q, corr, sa = (aligned(a[i : i + 1]) for a in out)
        lib(isa, Q.quantize(*case[:6]), 0, 1, aligned(x[i]), nw, nb, q, corr, sa)
        for whole, row in zip(out, (q, corr, sa), strict=True):
            whole[i] = row[0]
    return out


def chunk(lib, isa, case, x, nw, nb):
    """All rows at once, in two ranges; buffers start dirty, rows past m must come out zero."""
    K, size, m, R = case[0], case[1], len(x), isa.gemm_rows
    M, KG = -(-m // 16) * 16, -(-K // (size or K))
    q, corr = aligned(np.full((M // R, K // 4, R, 4), 99, np.int8)), aligned(np.full((M // R, KG, R), 99, np.int32))
    sa = aligned(np.full(M, 99, np.float32))
    for lo, hi in ((0, 1), (1, M // 16)):
        lib(isa, Q.quantize_rows(*case[:6]), lo, hi, m, padded_rows(x), nw, nb, q, corr, sa)
    return q.transpose(0, 2, 1, 3).reshape(M, K), corr.transpose(0, 2, 1).reshape(M, KG), sa


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-g{c[1]}-{c[3]}")
def test_codes_scales_and_corrections(lib, rng, case):
    _, size, zero, norm, eps, offset, m = case
    x, nw, nb = rows_of(rng, case)
    exact, scale, _ = Q.reference(x, norm, eps, offset, nw, nb)
    first = None
    for isa in x86_64.TARGET.isas:
        if not hasattr(lib.shared, f"{Q.quantize(*case[:6]).name}_{isa.name}"):
            continue
        q, corr, sa = one_by_one(lib, isa, case, x, nw, nb)
        assert np.abs(q - exact).max() <= 0.5 + 1e-4  # a code is a nearest integer, ties apart
        live = x.any(1) | (norm == "layer")
        assert np.allclose(sa[live], scale[live], rtol=2e-6, atol=0) and (sa[~live] < 1e-10).all()
        assert np.array_equal(corr, Q.corrections(q, size, zero))
        for got, row in zip(chunk(lib, isa, case, x, nw, nb), (q, corr, sa), strict=True):
            assert got[:m].tobytes() == row.tobytes() and not got[m:].any()
        first = first or (q, corr, sa)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first, (q, corr, sa), strict=True))


def test_halves_round_to_even_and_the_largest_value_is_127(lib):
    case = CASES[1]
    values = [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127, 3, 0, 126.4, 126.5, -126.5, 1, 0.4999, 63.5]
    x = np.array([values], np.float32)
    for isa in x86_64.TARGET.isas:
        if hasattr(lib.shared, f"{Q.quantize(*case[:6]).name}_{isa.name}"):
            q, _, sa = one_by_one(lib, isa, case, x, x[0], x[0])
            assert np.array_equal(q[0], np.rint(x[0])) and sa[0] == 1


def test_other_norms_and_widths_are_refused():
    with pytest.raises(UnsupportedError, match="group norm"):
        Q.quantize(64, 32, 8, "group norm")
    with pytest.raises(UnsupportedError, match="multiples of 16"):
        Q.quantize_rows(24, 0, 8)
