"""2:4 sparse formats: what is stored, what is refused, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.errors import UsageError
from edgeq.quant import sparse
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack, unpack
from edgeq.quant.quantizer import dequantize, quantize

FORMATS = ("s8", "s4g64", "s8g32", "s4g256", "s4g32")


def codes_2_of_4(rng: np.random.Generator, N: int, K: int, fmt: WeightFormat, density: float) -> np.ndarray:
    """Random codes, at most two of four not 0."""
    zero = fmt.zero_point
    codes = rng.integers(0, 2 * zero, (N, K // 4, 4)).astype(np.uint8)
    gone = np.argsort(rng.random(codes.shape), -1)[..., :2]
    np.put_along_axis(codes, gone, zero, -1)
    codes[rng.random(codes.shape) > density] = zero
    return codes.reshape(N, K)


@given(
    st.sampled_from(FORMATS), st.integers(1, 40), st.integers(1, 40), st.sampled_from((0.0, 0.3, 1.0)),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_unpacking_gives_back_what_was_packed(text, N, sixteens, density, seed):
    rng, fmt, K = np.random.default_rng(seed), WeightFormat.parse(text), 16 * sixteens
    codes = codes_2_of_4(rng, N, K, fmt, density)
    scale = rng.random((N, fmt.groups(K))).astype(np.float16)
    data = pack(codes, scale, None, fmt)
    assert data.nbytes == fmt.nbytes(N, K)
    found = unpack(data, N, K, fmt)
    assert np.array_equal(found[0], codes) and np.array_equal(found[1], scale) and found[2] is None


@pytest.mark.parametrize(
    ("text", "K", "bits"), [("s8", 4096, 5), ("s4g64", 4096, 3.25), ("s4g128", 4096, 3.125), ("s8g32", 4096, 5.5)]
)
def test_every_stored_bit_counts(text, K, bits):
    fmt = WeightFormat.parse(text)
    assert str(fmt) == text and fmt.zero_point in (8, 128)
    assert fmt.bits_per_weight(K) == pytest.approx(bits + (0.125 * 64 / K if text == "s8" else 0), abs=0.01)


def test_three_of_four_are_refused():
    fmt = WeightFormat.parse("s8")
    codes = np.full((4, 32), 128, np.uint8)
    codes[2, 4:7] = 7
    assert sparse.crowded(codes, 128) == 1
    with pytest.raises(UsageError, match=r"1 of \d+ quads hold more.*--pass jsq"):
        pack(codes, np.ones((4, 1), np.float16), None, fmt)


def test_a_weight_is_never_pruned_in_silence():
    fmt, w = WeightFormat.parse("s4g64"), np.random.default_rng(0).standard_normal((16, 64)).astype(np.float32)
    with pytest.raises(UsageError, match=r"a\.b: s4g64 keeps two of four"):
        quantize(w, fmt, name="a.b")
    w[:, 0::4] = w[:, 3::4] = 0
    tables = quantize(w, fmt)
    same = quantize(w, WeightFormat.parse("w4g64"))
    assert np.array_equal(tables[0], same[0]) and np.array_equal(tables[1], same[1])
    assert not dequantize(*tables, fmt)[w == 0].any()
