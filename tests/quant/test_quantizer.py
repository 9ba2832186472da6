from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.errors import ModelError, UnsupportedError, UsageError
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack, unpack
from edgeq.quant.quantizer import dequantize, quantize

TEXTS = ["w4", "w4a", "w4g32", "w4g64a", "w8", "w8a", "w8g32", "w8g128a"]
SEEDS = st.integers(0, 5)


def weights(N: int, K: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(N, K, generator=torch.Generator().manual_seed(seed)) * 0.05


def error(w: torch.Tensor, fmt: WeightFormat, method: str) -> float:
    return float(((dequantize(*quantize(w, fmt, method), fmt) - w.numpy()) ** 2).sum())


@pytest.mark.parametrize("text", TEXTS)
def test_error_is_at_most_half_a_step(text: str) -> None:
    fmt, w = WeightFormat.parse(text), weights(40, 208)
    codes, scale, zero = quantize(w, fmt)
    lengths = [end - start for start, end in fmt.group_bounds(208)]
    step = np.repeat(np.abs(scale.astype(np.float32)), lengths, axis=1)
    off = np.abs(dequantize(codes, scale, zero, fmt) - w.numpy())
    # symmetric 4 bit has no +8: a value opposite to the extreme and nearly as large may be off by a whole step
    limit = 1.0 if fmt.bits == 4 and fmt.symmetric else 0.5
    assert (off <= limit * step * 1.01 + (0.0 if fmt.symmetric else 0.5) * step).all()
    assert (zero is None) == fmt.symmetric


def test_symmetric_4_bit_uses_all_16_codes() -> None:
    w = torch.zeros(2, 32)
    w[0, :8] = torch.tensor([-8.0, 7, 6, -7, 1, 0, -1, 3])
    w[1] = -w[0]
    codes, scale, _ = quantize(w, WeightFormat.parse("w4g32"))
    assert scale[:, 0].tolist() == [1.0, -1.0]
    assert codes[0, :8].tolist() == codes[1, :8].tolist() == [0, 15, 14, 1, 9, 8, 7, 11]


def test_symmetric_8_bit_is_absmax_over_127() -> None:
    w = torch.zeros(1, 32)
    w[0, :4] = torch.tensor([-127.0, 127, 64, -1])
    codes, scale, _ = quantize(w, WeightFormat.parse("w8"))
    assert scale.item() == 1 and codes[0, :5].tolist() == [1, 255, 192, 127, 128]


def test_asymmetric_covers_min_to_max() -> None:
    w = torch.linspace(-3, 12, 32)[None]
    codes, scale, zero = quantize(w, WeightFormat.parse("w4g32a"))
    assert scale.item() == 1 and zero.item() == 3
    assert (codes.min(), codes.max()) == (0, 15)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(TEXTS), st.sampled_from(["minmax", "mse"]), st.integers(1, 20), st.integers(1, 20), SEEDS)
def test_codes_are_nearest_for_the_stored_scale(text: str, method: str, N: int, columns: int, seed: int) -> None:
    fmt, w = WeightFormat.parse(text), weights(N, columns * 16, seed)
    codes, scale, zero = quantize(w, fmt, method)
    best = ((dequantize(codes, scale, zero, fmt) - w.numpy()) ** 2).astype(np.float64)
    for step in (-1, 1):
        moved = np.clip(codes.astype(int) + step, 0, 2**fmt.bits - 1).astype(np.uint8)
        other = (dequantize(moved, scale, zero, fmt) - w.numpy()) ** 2
        assert (best <= other + 1e-9).all()


@pytest.mark.parametrize("text", TEXTS)
def test_mse_lowers_the_squared_error(text: str) -> None:
    fmt, w = WeightFormat.parse(text), weights(64, 512)
    assert error(w, fmt, "mse") < error(w, fmt, "minmax") * (0.95 if fmt.bits == 4 else 1.0)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_zero_rows_stay_zero(text: str, method: str) -> None:
    fmt, w = WeightFormat.parse(text), weights(3, 64)
    w[1] = 0
    codes, scale, zero = quantize(w, fmt, method)
    assert not scale[1].any()
    assert (codes[1] == (fmt.zero_point if zero is None else zero[1, 0])).all()
    assert not dequantize(codes, scale, zero, fmt)[1].any()


@pytest.mark.parametrize("text", TEXTS)
def test_tiny_weights_survive_fp16_scales(text: str) -> None:
    fmt, w = WeightFormat.parse(text), weights(4, 64) * 2e-5
    codes, scale, zero = quantize(w, fmt)
    assert (np.abs(scale) >= 2.0**-24).all()
    back = dequantize(codes, scale, zero, fmt)
    assert np.abs(back - w.numpy()).max() <= 2 * np.abs(scale).max()


def test_rows_do_not_depend_on_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    fmt, w = WeightFormat.parse("w4g32a"), weights(50, 96)
    whole = quantize(w, fmt, "mse")
    monkeypatch.setattr("edgeq.quant.quantizer.BLOCK_WEIGHTS", 200)
    for a, b in zip(whole, quantize(w, fmt, "mse"), strict=True):
        assert np.array_equal(a, b)


def test_threads_of_torch_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeq.quant.quantizer.BLOCK_WEIGHTS", 200)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        quantize(weights(50, 96), WeightFormat.parse("w8"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_float_type_goes_in(dtype: torch.dtype) -> None:
    fmt, w = WeightFormat.parse("w4g32"), weights(4, 64).to(dtype)
    for a, b in zip(quantize(w, fmt), quantize(w.float().numpy(), fmt), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("text", ["f16", "f32"])
def test_float_formats_only_convert(text: str) -> None:
    fmt, w = WeightFormat.parse(text), weights(5, 32)
    values, scale, zero = quantize(w, fmt)
    assert scale is None and zero is None
    kept = unpack(pack(values, scale, zero, fmt), 5, 32, fmt)[0]
    assert np.array_equal(kept, w.numpy().astype(kept.dtype))


@pytest.mark.parametrize("text", ["w4g32", "w8", "f16", "f32"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_damaged_weights_are_named(text: str, bad: float) -> None:
    w = weights(4, 64)
    w[2, 5] = bad
    with pytest.raises(ModelError, match=r"model\.up"):
        quantize(w, WeightFormat.parse(text), name="model.up")


@pytest.mark.parametrize("text", ["w4g32", "w8", "f16"])
def test_weights_beyond_fp16_are_refused(text: str) -> None:
    with pytest.raises(UnsupportedError, match="fp32"):
        quantize(torch.full((1, 32), 1e8), WeightFormat.parse(text))


def test_an_unknown_range_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="minmax, mse"):
        quantize(weights(1, 32), WeightFormat.parse("w8"), "kl")
