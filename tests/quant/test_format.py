from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.errors import UnsupportedError, UsageError
from edgeq.quant.format import GROUP_SIZES, WeightFormat

INTEGER = st.builds(WeightFormat, st.sampled_from([4, 8]), st.sampled_from([0, *GROUP_SIZES]), st.booleans())
FORMATS = st.one_of(INTEGER, st.sampled_from([WeightFormat(16), WeightFormat(32)]))
WIDTHS = st.integers(1, 60).map(lambda n: n * 16)


@given(FORMATS)
def test_text_round_trips(fmt: WeightFormat) -> None:
    assert WeightFormat.parse(str(fmt)) == fmt


def test_spellings() -> None:
    assert WeightFormat.parse("w4g128a") == WeightFormat(4, 128, symmetric=False)
    assert WeightFormat.parse("w8") == WeightFormat(8)
    assert WeightFormat.parse("f16").is_float


@pytest.mark.parametrize("text", ["", "w5", "w4g", "w4g0", "w4g48", "g32", "w4g32x", "W4", "f8", "f16g32", "w16"])
def test_unknown_text_is_refused_and_lists_what_is_known(text: str) -> None:
    with pytest.raises(UsageError, match="known"):
        WeightFormat.parse(text)


@pytest.mark.parametrize("K", [0, -16, 8, 17, 100])
@pytest.mark.parametrize("text", ["w4g32", "w8", "f32"])
def test_width_must_be_a_multiple_of_16(text: str, K: int) -> None:
    with pytest.raises(UnsupportedError, match=str(K)):
        WeightFormat.parse(text).tile_bytes(K)


def test_a_tile_laid_out_by_hand() -> None:
    # 80 = 32 + 32 + 16 at 4 bits: 4 + 4 + 2 vectors; two whole groups and their line, then the short one and its line
    fmt = WeightFormat.parse("w4g32")
    assert fmt.group_bounds(80) == [(0, 32), (32, 64), (64, 80)]
    assert [tuple(o) for o in fmt.offsets(80)] == [(0, 512, -1), (256, 544, -1), (576, 704, -1)]
    assert fmt.tile_bytes(80) == 768
    # the same, asymmetric: one block, two scale lines, one zero line
    asym = WeightFormat.parse("w4g32a")
    assert [tuple(o) for o in asym.offsets(80)] == [(0, 640, 768), (256, 672, 784), (512, 704, 800)]
    assert asym.tile_bytes(80) == 832


@pytest.mark.parametrize(
    ("text", "K", "bits"),
    [("w4g32", 64, 4.5), ("w4g32", 2048, 4.5), ("w4g128", 2048, 4.125), ("w4g64a", 1024, 4.375), ("w8g32", 576, 8.5),
     ("f16", 576, 16), ("f32", 64, 32), ("w8", 1024, 8.03125)],
)  # fmt: skip
def test_bits_per_weight_counts_scales_and_zeros(text: str, K: int, bits: float) -> None:
    assert WeightFormat.parse(text).bits_per_weight(K) == bits


@given(INTEGER, WIDTHS)
def test_parts_of_a_tile_fill_it_without_overlap(fmt: WeightFormat, K: int) -> None:
    used: list[tuple[int, int]] = []
    for (start, end), at in zip(fmt.group_bounds(K), fmt.offsets(K), strict=True):
        used += [(at.vectors, fmt.vectors(end - start) * 64), (at.scale, 32)]
        used += [] if fmt.symmetric else [(at.zero, 16)]
        assert at.vectors % 64 == 0
    used.sort()
    assert all(a + size <= b for (a, size), (b, _) in pairwise(used))
    assert fmt.tile_bytes(K) % 64 == 0
    slack = fmt.tile_bytes(K) - sum(size for _, size in used)
    assert 0 <= slack <= (32 if fmt.symmetric else 96)
    assert fmt.nbytes(17, K) == 2 * fmt.tile_bytes(K)
