from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack, unpack

TEXTS = ["w4", "w4a", "w4g32", "w4g64", "w4g128a", "w4g32a", "w8", "w8a", "w8g32", "w8g64a", "w8g256"]


def random_codes(fmt: WeightFormat, N: int, K: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1 << fmt.bits, (N, K), dtype=np.uint8)
    scale = rng.normal(size=(N, fmt.groups(K))).astype(np.float16)
    zero = None if fmt.symmetric else rng.integers(0, 1 << fmt.bits, scale.shape, dtype=np.uint8)
    return codes, scale, zero


def byte_by_byte(codes, scale, zero, fmt: WeightFormat) -> np.ndarray:
    """The layout's words turned into loops: slow, and independent of pack()."""
    N, K = codes.shape
    tiles = -(-N // 16)
    out = np.zeros((tiles, fmt.tile_bytes(K)), np.uint8)
    for g, ((start, end), at) in enumerate(zip(fmt.group_bounds(K), fmt.offsets(K), strict=True)):
        half = (end - start) // 2
        for n in range(N):
            tile, row = divmod(n, 16)
            for k in range(end - start):
                high = fmt.bits == 4 and k >= half
                quad, lane = divmod(k - half if high else k, 4)
                out[tile, at.vectors + quad * 64 + row * 4 + lane] |= int(codes[n, start + k]) << (4 if high else 0)
            out[tile, at.scale + 2 * row : at.scale + 2 * row + 2] = scale[n, g : g + 1].view(np.uint8)
            if zero is not None:
                out[tile, at.zero + row] = zero[n, g]
    return out.reshape(-1)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(("N", "K"), [(16, 64), (5, 80), (33, 304)])
def test_bytes_are_where_the_layout_says(text: str, N: int, K: int) -> None:
    fmt = WeightFormat.parse(text)
    parts = random_codes(fmt, N, K)
    assert np.array_equal(pack(*parts, fmt), byte_by_byte(*parts, fmt))


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(TEXTS), st.integers(1, 50), st.integers(1, 40), st.integers(0, 9))
def test_unpack_inverts_pack(text: str, N: int, columns: int, seed: int) -> None:
    fmt, K = WeightFormat.parse(text), columns * 16
    parts = random_codes(fmt, N, K, seed)
    data = pack(*parts, fmt)
    assert data.nbytes == fmt.nbytes(N, K)
    for before, after in zip(parts, unpack(data, N, K, fmt), strict=True):
        assert (before is None and after is None) or np.array_equal(before, after)


@pytest.mark.parametrize("text", ["f16", "f32"])
def test_float_tiles_are_k_by_16_rows(text: str) -> None:
    fmt = WeightFormat.parse(text)
    w = np.random.default_rng(1).normal(size=(20, 48)).astype(np.float32)
    data = pack(w, None, None, fmt).view(f"f{fmt.bits // 8}").reshape(2, 48, 16)
    assert data[0, 7, 3] == w[3, 7].astype(data.dtype) and data[1, 47, 3] == w[19, 47].astype(data.dtype)
    assert not data[1, :, 4:].any()
    assert np.array_equal(unpack(data, 20, 48, fmt)[0], w.astype(data.dtype))


def test_padding_rows_have_zero_scale() -> None:
    fmt = WeightFormat.parse("w4g32a")
    codes, scale, zero = unpack(pack(*random_codes(fmt, 17, 64), fmt), 32, 64, fmt)
    assert not codes[17:].any() and not scale[17:].any() and not zero[17:].any()


def test_packing_in_chunks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fmt = WeightFormat.parse("w4g32")
    parts = random_codes(fmt, 100, 96)
    whole = pack(*parts, fmt)
    monkeypatch.setattr("edgeq.quant.pack.CHUNK_WEIGHTS", 1)
    assert np.array_equal(pack(*parts, fmt), whole)
