"""Row quantization: codes and scales against float64, one row against a chunk bit for bit, on every ISA."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from everywhere import aligned
from linear_cases import padded_rows

from edgeq.errors import UnsupportedError
from edgeq.ir.ops.matrix import quantize_tensor
from edgeq.kernels import quantize as Q

# K, group size, zero, norm, eps, offset, rows
CASES = [
    (48, 32, 8, None, 0.0, 0.0, True, True, 3),
    (16, 0, 128, None, 0.0, 0.0, True, True, 1),
    (576, 128, 1, "rms", 1e-5, 0.0, True, False, 5),
    (80, 32, 8, "rms", 1e-6, 1.0, True, False, 16),
    (76, 32, 8, "rms", 1e-6, 1.0, True, True, 17),
    (48, 0, 128, "rms", 1e-5, 0.0, False, True, 2),
    (1040, 0, 128, "layer", 1e-5, 0.0, True, True, 35),
    (24, 32, 8, None, 0.0, 0.0, True, True, 3),
    (72, 32, 8, "layer", 1e-5, 0.0, True, True, 4),
    (43, 0, 128, "rms", 1e-5, 0.0, False, False, 4),
    (57, 0, 128, "layer", 1e-5, 0.0, False, True, 3),
    (64, 0, 128, "layer", 1e-5, 0.0, True, False, 3),
]

STATIC = [CASES[i] for i in (0, 2, 4, 5, 6, 8, 10)]  # the same with a scale that is a weight


@pytest.fixture(scope="module")
def lib(compile_kernels):
    made = [k for c in CASES for k in (Q.quantize(*c[:8]), Q.quantize_rows(*c[:8]))]
    return compile_kernels(made + [k for c in STATIC for k in (one_kernel(c, True), rows_kernel(c, True))])


def one_kernel(case, static):
    return Q.quantize(*case[:8], static=static)


def rows_kernel(case, static):
    return Q.quantize_rows(*case[:8], static=static)


def rows_of(rng, case):
    K, m = case[0], case[8]
    x = (rng.standard_normal((m, K)) * 3 + 9 * (case[3] == "layer")).astype(np.float32)
    if m > 2:
        x[1] = 0
    nw, nb = (rng.standard_normal(K) + 1).astype(np.float32), rng.standard_normal(K).astype(np.float32)
    return x, nw if case[6] else None, nb if case[7] and case[3] else None


def spread(x):
    """Rows with their pad lanes."""
    return np.pad(x, ((0, 0), (0, -x.shape[1] % 16)))


def one_by_one(lib, isa, case, x, nw, nb, xs=None):
    K, size = x.shape[1], case[1]
    out = np.zeros(x.shape, np.int8), np.zeros((len(x), -(-K // (size or K))), np.int32), np.zeros(len(x), np.float32)
    for i in range(len(x)):
        q, corr, sa = (aligned(a[i : i + 1]) for a in out)
        given = [aligned(x[i]), nw, nb] if xs is None else [aligned(x[i]), nw, nb, xs]
        lib(isa, one_kernel(case, xs is not None), 0, 1, *given, q, corr, sa)
        for whole, row in zip(out, (q, corr, sa), strict=True):
            whole[i] = row[0]
    return out


def chunk(lib, isa, case, x, nw, nb, xs=None):
    """All rows at once, in two ranges; buffers start dirty, rows past m must come out zero."""
    K, size, m, R = x.shape[1], case[1], len(x), isa.gemm_rows
    M, KG = -(-m // 16) * 16, -(-K // (size or K))
    quads = 4 * isa.panel_quads
    q = aligned(np.full((M // R, K // quads, R, quads), 99, np.int8))
    corr = aligned(np.full((M // R, KG, R), 99, np.int32))
    sa = aligned(np.full(M, 99, np.float32))
    for lo, hi in ((0, 1), (1, M // 16)):
        given = [padded_rows(x), nw, nb] if xs is None else [padded_rows(x), nw, nb, xs]
        lib(isa, rows_kernel(case, xs is not None), lo, hi, m, *given, q, corr, sa)
    return q.transpose(0, 2, 1, 3).reshape(M, K), corr.transpose(0, 2, 1).reshape(M, KG), sa


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-g{c[1]}-{c[3]}")
def test_codes_scales_and_corrections(lib, rng, case):
    K, size, zero, norm, eps, offset, *_, m = case
    x, nw, nb = rows_of(rng, case)
    exact, scale, _ = Q.reference(x, norm, eps, offset, nw, nb)
    exact, x = spread(exact), spread(x)
    first = None
    for isa in lib.isas:
        q, corr, sa = one_by_one(lib, isa, case, x, nw, nb)
        assert np.abs(q - exact).max() <= 0.5 + 1e-4  # a code is a nearest integer, ties apart
        assert not q[:, K:].any()
        live = x.any(1) | (nb is not None)
        assert np.allclose(sa[live], scale[live], rtol=2e-6, atol=0) and (sa[~live] < 1e-10).all()
        assert np.array_equal(corr, Q.corrections(q, size, zero))
        for got, row in zip(chunk(lib, isa, case, x, nw, nb), (q, corr, sa), strict=True):
            assert got[:m].tobytes() == row.tobytes() and not got[m:].any()
        first = first or (q, corr, sa)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first, (q, corr, sa), strict=True))


@pytest.mark.parametrize("case", STATIC, ids=lambda c: f"{c[0]}-g{c[1]}-{c[3]}")
def test_a_static_scale_clips_and_is_the_same_for_every_row(lib, rng, case):
    K, size, zero, norm, eps, offset, *_, m = case
    x, nw, nb = rows_of(rng, case)
    scale = np.float32(np.abs(Q.reference(x, norm, eps, offset, nw, nb)[2]).max() * 0.4 / 127)
    exact, _, _ = Q.reference(x, norm, eps, offset, nw, nb, scale)
    assert np.abs(exact).max() == 127  # some values are beyond the scale
    x, first = spread(x), None
    for isa in lib.isas:
        q, corr, sa = one_by_one(lib, isa, case, x, nw, nb, aligned(np.array([scale])))
        assert np.abs(q - spread(exact)).max() <= 0.5 + 1e-4 and not q[:, K:].any()
        assert (sa == scale).all() and np.array_equal(corr, Q.corrections(q, size, zero))
        for got, row in zip(chunk(lib, isa, case, x, nw, nb, aligned(np.array([scale]))), (q, corr, sa), strict=True):
            assert got[:m].tobytes() == row.tobytes() and not got[m:].any()
        first = first or (q, corr, sa)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(first, (q, corr, sa), strict=True))


def test_static_codes_are_those_of_the_reference_executor(lib, rng):
    case, scale = STATIC[0], np.array([0.021], np.float32)
    x = spread((rng.standard_normal((1, case[0])) * 3).astype(np.float32))
    codes, _ = quantize_tensor(torch.from_numpy(x), torch.from_numpy(scale))
    for isa in lib.isas:
        q, _, _ = one_by_one(lib, isa, case, x, None, None, aligned(scale))
        assert np.array_equal(q, codes.numpy())


def test_halves_round_to_even_and_the_largest_value_is_127(lib):
    case = CASES[1]
    values = [127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -127, 3, 0, 126.4, 126.5, -126.5, 1, 0.4999, 63.5]
    x = np.array([values], np.float32)
    for isa in lib.isas:
        q, _, sa = one_by_one(lib, isa, case, x, None, None)
        assert np.array_equal(q[0], np.rint(x[0])) and sa[0] == 1


def test_other_norms_and_groups_are_refused():
    with pytest.raises(UnsupportedError, match="group norm"):
        Q.quantize(64, 32, 8, "group norm")
    with pytest.raises(UnsupportedError, match="groups of 24"):
        Q.quantize_rows(48, 24, 8)
