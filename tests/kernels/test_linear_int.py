"""Integer linears: against exact integers, GEMV against GEMM and every ISA against the others bit for bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from everywhere import aligned
from linear_cases import Case, make, padded_rows, panels

from edgeq.errors import UnsupportedError
from edgeq.kernels import linear_int
from edgeq.kernels.epilogue import Epilogue
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack

# format, N, K, rows, epilogue, bias, extreme codes
CASES = [
    ("w4g32", 50, 48, 3, "store", False, False),
    ("w4g32", 64, 576, 35, "gated:silu", True, False),
    ("w4g128", 17, 576, 9, "add", False, True),
    ("w4g64a", 32, 208, 17, "store", True, False),
    ("w4", 48, 1040, 5, "act:gelu_tanh", False, False),
    ("w4", 1, 16, 1, "add", True, True),
    ("w8", 32, 336, 4, "store", False, True),
    ("w8g32", 96, 80, 16, "gated:gelu", False, False),
    ("w8g128a", 64, 576, 7, "add:relu", True, True),
    ("w2g64", 33, 80, 5, "store", False, False),
    ("w2g32a", 16, 272, 3, "store", False, True),
    ("w2", 16, 1040, 2, "store", False, True),
    ("w3g32", 17, 48, 3, "store", False, False),
    ("w3g128a", 16, 144, 9, "store", True, True),
    ("w3", 16, 1056, 2, "store", False, True),
    ("w8g64m", 16, 80, 3, "store", False, True),
    ("w4g32m", 17, 48, 9, "store", True, False),
    ("w8g16", 17, 80, 9, "store", False, True),
    ("w2g16m", 33, 48, 3, "store", True, False),
    ("w3g16", 16, 80, 2, "store", False, True),
    ("w1g128", 17, 144, 3, "store", False, True),
    ("t2g64", 16, 80, 3, "store", False, False),
    ("t1.6g256", 33, 272, 9, "store", True, False),
    ("t1.6", 16, 1040, 2, "store", False, True),
    ("nf4g64", 17, 80, 9, "store", False, False),
    ("mxfp4", 33, 272, 9, "store", False, False),
    ("log4t2g128", 16, 144, 2, "store", False, True),
]


def kernels(case: tuple) -> tuple:
    text, N, K, _, epilogue, bias, _ = case
    args = (N, K, WeightFormat.parse(text), epilogue, bias)
    return linear_int.gemv(*args), linear_int.gemm(*args)


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels(k for case in CASES for k in kernels(case))


def gemv_rows(lib, isa, kernel, c: Case, width: int, bias: np.ndarray | None) -> np.ndarray:
    """Every row by the GEMV, its units in two ranges as two threads would take them; `o` is `r`."""
    out, units = c.r[: len(c.x), :width].copy(), width // 16
    for i, row in enumerate(out):
        o = aligned(row)
        for lo, hi in ((0, units // 2), (units // 2, units)):
            lib(isa, kernel, lo, hi, c.packed, bias, aligned(c.q[i]), aligned(c.corr[i]), c.sa[i : i + 1], o, o)
        out[i] = o
    return out


def gemm_rows(lib, isa, kernel, c: Case, width: int, bias: np.ndarray | None) -> np.ndarray:
    R, units = isa.gemm_rows, width // 16
    q, corr, o = (
        panels(c.q, R, 4 * isa.panel_quads),
        panels(c.corr, R, 1),
        aligned(np.ascontiguousarray(c.r[:, :width])),
    )
    for lo, hi in ((0, units // 3), (units // 3, units)):
        lib(isa, kernel, lo, hi, len(c.x), c.packed, bias, q, corr, padded_rows(c.sa), o, o)
    return o[: len(c.x)]


def results(lib, case: tuple, c: Case) -> Iterator[np.ndarray]:
    epilogue, bias = case[4], c.bias if case[5] else None
    width = Epilogue.parse(epilogue).width(case[1])
    vector, matrix = kernels(case)
    for isa in lib.isas:
        yield gemv_rows(lib, isa, vector, c, width, bias)
        yield gemm_rows(lib, isa, matrix, c, width, bias)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}x{c[2]}-{c[4]}")
def test_matches_exact_integers_and_every_variant_agrees(lib, rng, case):
    text, N, K, m, epilogue, bias, extreme = case
    c = make(rng, text, N, K, m, extreme)
    found = list(results(lib, case, c))
    assert all(f.tobytes() == found[0].tobytes() for f in found)
    want = linear_int.reference(
        c.weights, c.fmt, c.q, c.sa, epilogue, c.bias[:N] if bias else None, c.r[:m, :N].astype(np.float64)
    )
    error = np.abs(found[0][:, : want.shape[1]] - want).max()
    assert error <= 2e-6 * np.abs(want).max()
    assert not found[0][:, want.shape[1] :].any()  # pad lanes


def test_padding_rows_of_the_weight_give_zero(lib, rng):
    case = CASES[0]
    c = make(rng, case[0], case[1], case[2], case[3])
    for found in results(lib, case, c):
        assert not found[:, case[1] :].any()


def test_per_channel_sums_are_exact_integers(lib, rng):
    """One group with scale 1: the float result is the integer sum itself, at the largest codes too."""
    case = next(c for c in CASES if c[0] == "w8" and c[4] == "store")
    c = make(rng, case[0], case[1], case[2], case[3], extreme=True)
    codes, scale, _ = c.weights
    codes[0], c.q[0] = 255, 127
    c.packed = aligned(pack(codes, np.ones_like(scale), None, c.fmt))
    c.sa = np.ones_like(c.sa)
    want = c.q.astype(np.int64) @ (codes.astype(np.int64) - 128).T
    assert want[0, 0] == 127 * 127 * case[2]
    for found in results(lib, case, c):
        assert np.array_equal(found[:, : case[1]], want)


def test_what_has_no_kernel_is_refused():
    w4 = WeightFormat.parse("w4g32")
    for text, instead in (("f16", "linear_float"), ("fp8", "linear_float"), ("s8", "sparse")):
        with pytest.raises(UnsupportedError, match=instead):
            linear_int.gemv(16, 32, WeightFormat.parse(text))
    with pytest.raises(UnsupportedError, match="gate and up"):
        linear_int.gemm(48, 32, w4, "gated:silu")
    with pytest.raises(UnsupportedError, match="swish"):
        linear_int.gemv(32, 32, w4, "act:swish")
    with pytest.raises(UnsupportedError, match="known: store, add"):
        linear_int.gemv(32, 32, w4, "gated")
    with pytest.raises(UnsupportedError, match="multiple of 16"):
        linear_int.gemv(32, 24, w4)
    for ld, epilogue in ((40, "store"), (16, "store"), (64, "add")):
        with pytest.raises(UnsupportedError, match="rows cannot lie"):
            linear_int.gemm(32, 32, w4, epilogue, ld=ld)


def test_a_name_tells_kernels_apart():
    w4 = WeightFormat.parse("w4g32")
    made = [
        linear_int.gemv(32, 64, w4), linear_int.gemv(64, 32, w4), linear_int.gemv(32, 64, w4, bias=True),
        linear_int.gemv(32, 64, w4, "gated:silu"), linear_int.gemv(32, 64, WeightFormat.parse("w4g32a")),
        linear_int.gemm(32, 64, w4), linear_int.gemm(32, 64, w4, ld=96),
    ]  # fmt: skip
    assert len({k.name for k in made}) == len(made)
    assert all(k.name.isidentifier() for k in made)
    assert made[0].weight_bytes == 2 * w4.tile_bytes(64) and made[0].ops == 32 * 64
