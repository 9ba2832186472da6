"""Binary linears: packing is lossless, counts are exact integers for any K, and every ISA gives the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from everywhere import everywhere
from hypothesis import given
from hypothesis import strategies as st
from linear_cases import padded_rows

from edgeq.errors import UnsupportedError
from edgeq.kernels import binary, binary_pack, binary_rows
from edgeq.kernels.epilogue import Epilogue
from edgeq.kernels.naming import padded
from edgeq.targets import find

# N, K, rows, op
COUNTED = [
    (16, 1, 1, "xnor"), (50, 31, 3, "xnor"), (17, 33, 17, "and"), (32, 127, 5, "xnor"), (16, 992, 9, "and"),
    (33, 1025, 16, "xnor"), (16, 4097, 4, "xnor"),
]  # fmt: skip
# N, K, rows, epilogue, bias
SCALED = [
    (50, 33, 3, "store", True), (64, 127, 19, "gated:silu", True), (17, 1000, 9, "add", False),
    (32, 4097, 2, "act:gelu_tanh", False), (48, 576, 16, "add:relu", True),
]  # fmt: skip
PACKED = [(1, 3), (31, 17), (33, 2), (48, 16), (127, 5), (1000, 4), (4097, 1)]  # K, rows


@pytest.fixture(scope="module")
def lib(compile_kernels):
    counted = [f(N, K, op) for N, K, _, op in COUNTED for f in (binary.count, binary.count_rows)]
    scaled = [f(N, K, e, b) for N, K, _, e, b in SCALED for f in (binary.gemv, binary.gemm)]
    packed = [f(K) for K, _ in PACKED for f in (binary_rows.pack_row, binary_rows.pack_rows)]
    return compile_kernels([*counted, *scaled, *packed])


class One:
    """A library of which one ISA is run: q differs between them."""

    def __init__(self, lib, isa):
        self.lib, self.isas = lib, [isa]

    def __call__(self, *args) -> None:
        self.lib(*args)


def run(lib, isa, kernel, units: int, **given: Any) -> dict[str, np.ndarray]:
    """One ISA's arrays after the kernel ran in two ranges; nothing around them was written."""
    return everywhere(One(lib, isa), kernel, [(0, units // 2), (units // 2, units)], **given)


def signs(rng: np.random.Generator, kind: str, rows: int, K: int) -> np.ndarray:
    if kind == "random":
        return rng.choice(np.array([-1, 1], np.int8), (rows, K))
    return np.full((rows, K), 1 if kind == "plus" else -1, np.int8)


@given(st.integers(1, 40), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_unpacking_gives_back_what_was_packed(N, K, seed):
    rng = np.random.default_rng(seed)
    codes, scale = signs(rng, "random", N, K), rng.standard_normal(N).astype(np.float32)
    data = binary_pack.pack(codes, scale)
    assert data.nbytes == binary_pack.FORMAT.nbytes(N, K)
    found = binary_pack.unpack(data, N, K)
    assert np.array_equal(found[0], codes) and np.array_equal(found[1], scale)
    padding, none = binary_pack.unpack(data, -(-N // 16) * 16, K)
    assert (padding[N:] == -1).all() and not none[N:].any()  # rows that are not there: zero bits, scale 0
    assert np.array_equal(binary_pack.unpack_signs(binary_pack.pack_signs(codes), K), codes)


@given(st.integers(1, 40), st.integers(1, 100), st.sampled_from([i for t in ("x86-64", "arm64") for i in find(t).isas]))
def test_panels_hold_every_word_where_the_kernels_read_it(m, K, isa):
    packed = binary_pack.pack_signs(signs(np.random.default_rng(m * K), "random", m, K))
    panels, R = binary_pack.panels(packed, isa), binary_pack.rows(isa)
    assert panels.shape[1:] == (packed.shape[1], R, binary_pack.copies(isa)) and len(panels) * R % 16 == 0
    assert binary_pack.copies(isa) <= binary_pack.MAX_COPIES
    for i in range(m):
        assert (panels[i // R, :, i % R] == binary_pack.row_words(packed[i], isa)).all()
    assert panels.sum(dtype=np.uint64) == packed.sum(dtype=np.uint64) * binary_pack.copies(isa)


def expected(codes: np.ndarray, x: np.ndarray, op: str) -> np.ndarray:
    if op == "and":
        codes, x = codes > 0, x > 0
    return x.astype(np.int32) @ codes.astype(np.int32).T


@pytest.mark.parametrize("kinds", ["random random", "plus plus", "plus minus", "minus minus", "random minus"])
@pytest.mark.parametrize("case", COUNTED, ids=str)
def test_counts_are_exact(lib, rng, case, kinds):
    N, K, m, op = case
    weight, activation = kinds.split()
    codes, x = signs(rng, weight, N, K), signs(rng, activation, m, K)
    want, w, width = expected(codes, x, op), binary_pack.pack(codes, np.ones(N, np.float32)), padded(N)
    packed = binary_pack.pack_signs(x)
    for isa in lib.isas:
        o = np.full((-(-m // 16) * 16, width), 7, np.int32)
        q = binary_pack.panels(packed, isa)
        found = run(lib, isa, binary.count_rows(N, K, op), width // 16, m=m, w=w, q=q, o=o)["o"]
        assert np.array_equal(found[:m, :N], want) and not found[:m, N:].any(), isa.name
        q = binary_pack.row_words(packed[-1], isa)
        row = run(lib, isa, binary.count(N, K, op), width // 16, w=w, q=q, o=o[0])["o"]
        assert np.array_equal(row, found[m - 1]), isa.name


@pytest.mark.parametrize("case", SCALED, ids=str)
def test_linears_match_the_reference_and_every_variant_agrees(lib, rng, case):
    N, K, m, epilogue, bias = case
    codes, x = signs(rng, "random", N, K), signs(rng, "random", m, K)
    alpha, sa = rng.standard_normal(N).astype(np.float32), rng.random(m).astype(np.float32)
    sa[0] = 0  # a row of zeros
    b = np.zeros(padded(N), np.float32)
    b[:N] = rng.standard_normal(N)
    width = Epilogue.parse(epilogue).width(N)
    r = np.zeros((-(-m // 16) * 16, width), np.float32)
    r[:, : min(N, width)] = rng.standard_normal((len(r), min(N, width)))
    given, first = {"w": binary_pack.pack(codes, alpha), "bias": b if bias else None}, None
    for isa in lib.isas:
        q = binary_pack.panels(binary_pack.pack_signs(x), isa)
        kernel = binary.gemm(N, K, epilogue, bias)
        o = run(lib, isa, kernel, width // 16, m=m, q=q, sa=padded_rows(sa), r=r, o=r, **given)["o"][:m]
        first = o if first is None else first
        assert o.tobytes() == first.tobytes(), isa.name
        for i in range(m):
            q = binary_pack.row_words(binary_pack.pack_signs(x)[i], isa)
            kernel = binary.gemv(N, K, epilogue, bias)
            row = run(lib, isa, kernel, width // 16, q=q, sa=sa[i : i + 1], r=r[i], o=r[i], **given)["o"]
            assert row.tobytes() == o[i].tobytes(), isa.name
    want = binary.reference(codes, alpha, x, sa, epilogue, b[:N] if bias else None, r[:m, :N].astype(np.float64))
    assert np.abs(first[:, : want.shape[1]] - want).max() <= 2e-6 * np.abs(want).max()
    assert not first[:, want.shape[1] :].any()  # pad lanes


@pytest.mark.parametrize("case", PACKED, ids=str)
def test_activations_are_packed_as_numpy_packs_them(lib, rng, case):
    K, m = case
    x = np.zeros((m, padded(K)), np.float32)
    x[:, :K] = rng.standard_normal((m, K))
    x[0, :K] = 0  # +0 counts as +1
    x[-1, 0] = -0.0  # and so does -0
    packed, mean = binary_rows.reference(x[:, :K])
    M, first = -(-m // 16) * 16, None
    for isa in lib.isas:
        want, kernel = binary_pack.panels(packed, isa), binary_rows.pack_rows(K)
        found = run(lib, isa, kernel, M // 16, m=m, x=x, q=~want, sa=np.full(M, 9, np.float32))
        assert np.array_equal(found["q"], want), isa.name
        assert np.allclose(found["sa"][:m], mean, rtol=1e-6, atol=0) and not found["sa"][m:].any()
        first = found["sa"] if first is None else first
        assert found["sa"].tobytes() == first.tobytes(), isa.name
        given = {"x": x[-1], "q": ~binary_pack.row_words(packed[-1], isa), "sa": np.ones(1, np.float32)}
        row = everywhere(One(lib, isa), binary_rows.pack_row(K), [(0, 1)], **given)
        assert np.array_equal(row["q"], ~given["q"]) and row["sa"][0] == first[m - 1]


def test_a_variant_that_counts_bits_is_built_where_something_is_counted():
    target = find("x86-64")
    (partial,) = target.partial
    assert "avx512vpopcntdq" in partial.needs and partial.base == target.isas[0].name
    counted, other = binary.gemv(32, 64), binary_rows.pack_row(64)
    assert partial.owns(counted.family) and not partial.owns(other.family)
    assert target.variants([other.family]) == target.isas
    assert target.variants([other.family, counted.family]) == target.every == (partial, *target.isas)


def test_what_has_no_kernel_is_refused():
    with pytest.raises(UnsupportedError, match="w1: a weight with 0 input channels"):
        binary.gemv(16, 0)
    with pytest.raises(UnsupportedError, match="counts 'or'; known: xnor, and"):
        binary.count(16, 32, "or")
    with pytest.raises(UnsupportedError, match="gate and up"):
        binary.gemm(48, 32, "gated:silu")
    with pytest.raises(UnsupportedError, match="w1"):
        binary_rows.pack_rows(1 << 24)


def test_a_name_tells_kernels_apart():
    made = [
        binary.gemv(32, 64), binary.gemv(32, 65), binary.gemm(32, 64), binary.gemv(32, 64, bias=True),
        binary.gemv(32, 64, "add"), binary.count(32, 64), binary.count(32, 64, "and"), binary.count_rows(32, 64),
        binary_rows.pack_row(64), binary_rows.pack_rows(64),
    ]  # fmt: skip
    assert len({k.name for k in made}) == len(made)
    assert all(k.name.isidentifier() for k in made)
    assert made[0].weight_bytes == 2 * (2 * 64 + 64) and made[0].ops == 32 * 64
