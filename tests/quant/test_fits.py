"""Rounding to grids that are no plain integers: levels of tables, signs, floats of 8 bits, offsets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeq.quant.fits import nearest_level
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize

KINDS = ["w1g128", "t2g128", "t1.6g64", "nf4g64", "mxfp4", "log4t2", "fp8", "fp8e5g64", "w4g32m", "w2g64m"]


def weights(rows: int = 24, columns: int = 304, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32) * 0.05


def error(text: str, w: np.ndarray, method: str = "minmax") -> float:
    fmt = WeightFormat.parse(text)
    return float(np.square(dequantize(*quantize(w, fmt, method), fmt) - w).sum() / np.square(w).sum())


@pytest.mark.parametrize("text", KINDS)
@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_what_lies_on_the_grid_stays(text: str, method: str) -> None:
    fmt = WeightFormat.parse(text)
    once = dequantize(*quantize(weights(), fmt, method), fmt)
    again = dequantize(*quantize(once, fmt, method), fmt)
    largest = np.abs(once).max()
    assert np.abs(again - once).max() <= 2e-3 * largest


@pytest.mark.parametrize("text", KINDS)
def test_rows_of_zeros_are_zeros(text: str) -> None:
    fmt = WeightFormat.parse(text)
    w = weights()
    w[5] = 0
    codes, scale, _ = quantize(w, fmt)
    assert codes.max() < fmt.codes and np.isfinite(scale).all()
    assert np.abs(dequantize(*quantize(w, fmt), fmt)[5]).max() <= 1e-5


def test_a_search_never_does_worse_than_the_whole_range() -> None:
    for text in ("nf4g64", "mxfp4", "log4t2"):
        assert error(text, weights(), "mse") <= error(text, weights()) + 1e-9, text


def test_binary_is_least_squares() -> None:
    w, fmt = weights(columns=128), WeightFormat.parse("w1g128")
    codes, scale, _ = quantize(w, fmt)
    assert np.array_equal(codes, w >= 0)
    best = error("w1g128", w)
    for factor in (0.97, 1.03):
        worse = dequantize(codes, (scale.astype(np.float32) * factor).astype(np.float16), None, fmt)
        assert np.square(worse - w).sum() / np.square(w).sum() > best


def test_padding_does_not_count_in_the_mean_of_signs() -> None:
    w = weights(columns=27)
    scale = quantize(np.pad(w, [(0, 0), (0, 5)]), WeightFormat.parse("w1"))[1]
    assert scale is not None and np.allclose(scale[:, 0], np.abs(w).mean(1), rtol=1e-3)


def test_ternary_beats_its_first_threshold() -> None:
    w = weights(columns=128)
    kept = np.abs(w) > 0.75 * np.abs(w).mean(1, keepdims=True)
    scale = (np.abs(w) * kept).sum(1, keepdims=True) / kept.sum(1, keepdims=True)
    first = np.square(np.sign(w) * kept * scale - w).sum() / np.square(w).sum()
    assert error("t2g128", w) <= first + 1e-6


def test_nearest_level_is_nearest() -> None:
    for text in ("nf4g64", "mxfp4", "log4t1", "log4t8"):
        levels = np.array(WeightFormat.parse(text).levels, np.float32)
        values = np.linspace(-130, 130, 2001, dtype=np.float32)
        codes = nearest_level(torch.from_numpy(values), tuple(levels.astype(int))).numpy()
        assert np.array_equal(np.abs(values - levels[codes]), np.abs(values[:, None] - levels).min(1))


@pytest.mark.parametrize("text", ["log4t1", "log4t2", "log4t4"])
def test_logarithmic_levels_are_symmetric_and_fall(text: str) -> None:
    levels = WeightFormat.parse(text).levels
    assert levels is not None and [-x for x in levels[:8]] == list(levels[8:])
    assert list(levels[:8]) == sorted(levels[:8]) and levels[7] == 127


@pytest.mark.parametrize(("text", "dtype"), [("fp8", torch.float8_e4m3fn), ("fp8e5", torch.float8_e5m2)])
def test_every_finite_byte_of_fp8_is_kept(text: str, dtype: torch.dtype) -> None:
    values = torch.arange(256, dtype=torch.int32).to(torch.uint8).view(dtype).float()
    finite = values[torch.isfinite(values)]
    w = finite[None, : len(finite) // 16 * 16]
    w = torch.cat([w, finite.flip(0)[None, : w.shape[1]]])
    fmt = WeightFormat.parse(text)
    assert torch.equal(torch.from_numpy(dequantize(*quantize(w, fmt), fmt)), w)


def test_offsets_reach_the_smallest_weight() -> None:
    fmt, w = WeightFormat.parse("w4g32m"), weights() + 3
    codes, scale, offset = quantize(w, fmt)
    assert offset is not None and offset.dtype == np.float16 and (offset < 0).all()
    assert np.abs(dequantize(codes, scale, offset, fmt) - w).max() <= 0.51 * scale.astype(np.float32).max() + 2e-3


def test_planes_and_codebooks_stand_for_sums_and_entries() -> None:
    codes = np.array([[0, 1, 2, 3] * 4], np.uint8)
    planes = dequantize(codes, np.array([[2, -1]], np.float16), None, WeightFormat.parse("p2"))
    assert planes[0, :4].tolist() == [0, 2, -1, 1]
    table = dequantize(codes, np.array([[5, 6, 7, 8]], np.float16), None, WeightFormat.parse("c4"))
    assert table[0, :4].tolist() == [5, 6, 7, 8]
