from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.errors import UnsupportedError
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack, unpack

DENSE = [
    "w1", "w1g128", "w2", "w2g32", "w2g64a", "w3", "w3g32", "w3g128a", "w2g32m", "w3g32m", "w4g32m", "w8g64m", "t2g128",
    "t2", "t1.6", "t1.6g256", "nf4g64", "nf4g32m", "mxfp4", "log4t2", "fp8", "fp8e5g64", "p2g64", "c4g128",
]  # fmt: skip
TEXTS = ["w4", "w4a", "w4g32", "w4g64", "w4g128a", "w4g32a", "w8", "w8a", "w8g32", "w8g64a", "w8g256"]


def random_codes(fmt: WeightFormat, N: int, K: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, fmt.codes, (N, K), dtype=np.uint8)
    if fmt.float_only:
        codes &= 0xFB if fmt.kind == "e5m2" else 0xFE if fmt.kind == "e4m3" else 0xFF  # finite
    scale = rng.normal(size=(N, fmt.groups(K) * fmt.meaning.numbers)).astype(np.float16)
    if fmt.kind == "mx":
        scale = np.exp2(rng.integers(-20, 15, scale.shape)).astype(np.float16)
    if fmt.symmetric:
        return codes, scale, None
    return codes, scale, rng.integers(0, fmt.codes, (N, fmt.groups(K))).astype(fmt.zero_type)


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


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(TEXTS + DENSE), st.integers(1, 50), st.integers(1, 40), st.integers(0, 9))
def test_unpack_inverts_pack(text: str, N: int, columns: int, seed: int) -> None:
    fmt, K = WeightFormat.parse(text), columns * 16
    parts = random_codes(fmt, N, K, seed)
    data = pack(*parts, fmt)
    assert data.nbytes == fmt.nbytes(N, K)
    for before, after in zip(parts, unpack(data, N, K, fmt), strict=True):
        assert (before is None and after is None) or np.array_equal(before, after)


def code_at(vectors: np.ndarray, fmt: WeightFormat, length: int, row: int, k: int) -> int:
    """One code of a group, read as `layout.py` describes it in words; vectors uint8[V, 64]."""
    quads, (quad, lane), first, place, code = length // 4, divmod(k, 4), 0, 0, 0
    for width in fmt.planes:
        digits = width == 0
        whole = -(-quads // (5 if digits else 8 // width))
        byte, field = int(vectors[first + quad % whole, row * 4 + lane]), quad // whole
        if digits:
            return int(f"{np.base_repr(byte * 243 // 256, 3):0>5}"[field])
        code |= (byte >> field * width & (1 << width) - 1) << place
        first, place = first + whole, place + width
    return code


@pytest.mark.parametrize("text", ["w1", "w2g32", "w3g64a", "w3", "t1.6", "t1.6g128", "nf4g64", "c4g128"])
@pytest.mark.parametrize("K", [16, 48, 304])
def test_fields_are_where_the_layout_says(text: str, K: int) -> None:
    fmt = WeightFormat.parse(text)
    codes, scale, zero = random_codes(fmt, 16, K)
    tile = pack(codes, scale, zero, fmt)
    for (start, end), at in zip(fmt.group_bounds(K), fmt.offsets(K), strict=True):
        vectors = tile[at.vectors : at.vectors + 64 * fmt.vectors(end - start)].reshape(-1, 64)
        for row, k in [(0, start), (3, start + 7), (15, end - 1), (9, (start + end) // 2)]:
            assert code_at(vectors, fmt, end - start, row, k - start) == codes[row, k]
    for number in range(fmt.meaning.numbers):
        stored = tile[fmt.offsets(K)[0].scale + 32 * number :][:32].view(np.float16)
        assert np.array_equal(stored, scale[:, number])


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("w1g128", 1.125), ("w2g64", 2.25), ("w2g64a", 2.375), ("w3g128", 3.125), ("w4g32m", 5), ("t2g128", 2.125),
        ("t1.6g256", 1.6875), ("nf4g64", 4.25), ("mxfp4", 4.25), ("p2g64", 2.5), ("c4g128", 2.5),
    ],
)  # fmt: skip
def test_bits_a_weight_count_all_that_is_stored(text: str, bits: float) -> None:
    assert WeightFormat.parse(text).bits_per_weight(4096) == bits


def test_a_scale_that_is_no_power_of_two_is_refused() -> None:
    fmt = WeightFormat.parse("mxfp4")
    codes, scale, _ = random_codes(fmt, 16, 32)
    with pytest.raises(UnsupportedError, match="no positive power of two"):
        pack(codes, scale * np.float16(1.5), None, fmt)


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
