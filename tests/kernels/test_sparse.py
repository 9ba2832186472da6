"""2:4 sparse linears: against exact integers, GEMV against GEMM and every ISA against the others bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from everywhere import aligned
from linear_cases import padded_rows, panels

from edgeq.errors import UnsupportedError
from edgeq.kernels import sparse
from edgeq.kernels.epilogue import Epilogue
from edgeq.kernels.quantize import quantize_rows
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack

# format, N, K, rows, epilogue, bias, extreme codes
CASES = [
    ("s8", 50, 176, 9, "store", False, True),
    ("s8", 64, 48, 17, "gated:silu", True, False),
    ("s4g64", 17, 208, 9, "add", True, True),
]


@dataclass
class Case:
    """Operands of one linear: 2:4 codes, activations, what an epilogue may read."""

    fmt: WeightFormat
    codes: np.ndarray
    scale: np.ndarray
    q: np.ndarray  # i8[m, K]
    sa: np.ndarray
    bias: np.ndarray
    r: np.ndarray

    @property
    def packed(self) -> np.ndarray:
        return aligned(pack(self.codes, self.scale, None, self.fmt))


def make(rng: np.random.Generator, text: str, N: int, K: int, m: int, extreme: bool) -> Case:
    """Random operands; `extreme`: the largest codes alone. A row of the weight, one of the activations are zeros."""
    fmt, M, wide = WeightFormat.parse(text), -(-m // 16) * 16, -(-N // 16) * 16
    zero = fmt.zero_point
    codes = rng.integers(0, 2 * zero, (N, K // 4, 4))
    codes = np.where(extreme, np.where(codes < zero, 0, 2 * zero - 1), codes).astype(np.uint8)
    np.put_along_axis(codes, np.argsort(rng.random(codes.shape), -1)[..., :2], zero, -1)
    codes = codes.reshape(N, K)
    codes[N // 2] = codes[N // 2] if N == 1 else zero
    q = (rng.choice([-127, 127], (m, K)) if extreme else rng.integers(-127, 128, (m, K))).astype(np.int8)
    q[1:2] = 0
    live = np.arange(wide) < N
    scale = (rng.random((N, fmt.groups(K))) * 0.01 + 1e-4).astype(np.float16)
    floats = rng.standard_normal((M + 1, wide)).astype(np.float32) * live
    return Case(fmt, codes, scale, q, rng.random(m).astype(np.float32), floats[M], np.ascontiguousarray(floats[:M]))


def kernels(case: tuple) -> tuple:
    text, N, K, _, epilogue, bias, _ = case
    args = (N, K, WeightFormat.parse(text), epilogue, bias)
    return sparse.gemv(*args), sparse.gemm(*args)


@pytest.fixture(scope="module")
def lib(compile_kernels):
    return compile_kernels([*(k for case in CASES for k in kernels(case)), quantize_rows(48, 0, 1, quads=4)])


def gemv_rows(lib, isa, kernel, c: Case, width: int, bias: np.ndarray | None) -> np.ndarray:
    """Every row by the GEMV, its units in two ranges as two threads would take them; `o` is `r`."""
    out, units, packed = c.r[: len(c.q), :width].copy(), width // 16, c.packed
    for i, row in enumerate(out):
        o = aligned(row)
        for lo, hi in ((0, units // 2), (units // 2, units)):
            lib(isa, kernel, lo, hi, packed, bias, aligned(c.q[i]), None, c.sa[i : i + 1], o, o)
        out[i] = o
    return out


def stored(q: np.ndarray, isa) -> np.ndarray:
    """Codes of a chunk as `quantize_rows` stores them for kernels whose weights are signed, and back."""
    return aligned(q ^ np.int8(-128)) if isa.dot == "vnni512" else q


def gemm_rows(lib, isa, kernel, c: Case, width: int, bias: np.ndarray | None) -> np.ndarray:
    q, o = stored(panels(c.q, isa.gemm_rows, 16), isa), aligned(c.r[:, :width].copy())
    units, packed = width // 16, c.packed
    for lo, hi in ((0, units // 3), (units // 3, units)):
        lib(isa, kernel, lo, hi, len(c.q), packed, bias, q, None, padded_rows(c.sa), o, o)
    return o[: len(c.q)]


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
    want = sparse.reference(
        (c.codes, c.scale, None), c.fmt, c.q, c.sa, epilogue, c.bias[:N] if bias else None,
        c.r[:m, :N].astype(np.float64),
    )  # fmt: skip
    assert np.abs(found[0][:, : want.shape[1]] - want).max() <= 2e-6 * np.abs(want).max()
    assert not found[0][:, want.shape[1] :].any()  # pad lanes


def test_per_channel_sums_are_exact_integers(lib, rng):
    """One group with scale 1: the float result is the integer sum itself, at the largest codes too."""
    case = CASES[0]
    c = make(rng, *case[:4], extreme=True)
    c.codes[0].reshape(-1, 4)[:] = (0, 128, 128, 0)
    c.q[0] = -127
    c.scale, c.sa = np.ones_like(c.scale), np.ones_like(c.sa)
    want = c.q.astype(np.int64) @ (c.codes.astype(np.int64) - 128).T
    assert want[0, 0] == 127 * 128 * case[2] // 2
    for found in results(lib, case, c):
        assert np.array_equal(found[:, : case[1]], want)


def test_rows_are_quantized_16_k_at_a_time(lib, rng):
    x = np.zeros((16, 48), np.float32)
    x[:5] = rng.standard_normal((5, 48))
    for isa in lib.isas:
        q, corr, sa = (aligned(np.empty(n, t)) for n, t in ((16 * 48, np.int8), (16, np.int32), (16, np.float32)))
        lib(isa, quantize_rows(48, 0, 1, quads=4), 0, 1, 5, aligned(x), None, None, q, corr, sa)
        rows = stored(q, isa).reshape(16 // isa.gemm_rows, 3, isa.gemm_rows, 16).transpose(0, 2, 1, 3).reshape(16, 48)
        want = np.rint(x[:5] * (127 / np.abs(x[:5]).max(1, keepdims=True)))
        assert np.array_equal(rows[:5], want) and not rows[5:].any()


def test_what_has_no_kernel_is_refused():
    with pytest.raises(UnsupportedError, match="use linear_int"):
        sparse.gemv(16, 32, WeightFormat.parse("w8"))
    with pytest.raises(UnsupportedError, match="multiple of 16"):
        sparse.gemv(32, 24, WeightFormat.parse("s8"))
    with pytest.raises(UnsupportedError, match="rows cannot lie"):
        sparse.gemm(32, 32, WeightFormat.parse("s4g64"), ld=40)
