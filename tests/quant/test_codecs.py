"""Floats of 8 and 4 bits: every code, ties, and what stands for no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeq.errors import UnsupportedError
from edgeq.quant.format import WeightFormat
from edgeq.quant.kinds import NF4
from edgeq.quant.pack import pack
from edgeq.quant.quantizer import dequantize, quantize

FLOATS = {"fp8": torch.float8_e4m3fn, "fp8e5": torch.float8_e5m2}
COUNTS = {"fp8": (254, 448.0, 2.0**-9), "fp8e5": (248, 57344.0, 2.0**-16)}  # finite codes, largest, smallest
UNITS = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


def table(text: str) -> np.ndarray:
    """f32[256], what each byte stands for."""
    return torch.arange(256, dtype=torch.uint8).view(FLOATS[text]).float().numpy()


def row(text: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, WeightFormat]:
    """Codes and scale of one row that is filled up with zeros."""
    fmt = WeightFormat.parse(text)
    codes, scale, _ = quantize(np.pad(values, (0, -len(values) % 16)).astype(np.float32)[None], fmt)
    return codes[0, : len(values)], scale, fmt


@pytest.mark.parametrize("text", FLOATS)
def test_every_finite_float_of_8_bits_comes_back(text: str) -> None:
    every = table(text)
    codes = np.flatnonzero(np.isfinite(every)).astype(np.uint8)
    count, largest, smallest = COUNTS[text]
    values = every[codes]
    assert len(codes) == count and values.max() == largest and np.abs(values[values != 0]).min() == smallest
    found, scale, fmt = row(text, values)
    assert scale == 1 and np.array_equal(found, codes)  # with the sign of zero
    assert dequantize(found[None], scale, None, fmt).tobytes() == values.tobytes()


@pytest.mark.parametrize("text", FLOATS)
def test_ties_go_to_even_and_nothing_overflows(text: str) -> None:
    every = table(text)
    last = int(np.flatnonzero(np.isfinite(every[:128])).max())
    ties = (every[:last] + every[1 : last + 1]) / 2
    found, scale, _ = row(text, np.append(ties, every[last]))
    even = np.arange(last) + np.arange(last) % 2
    assert scale == 1 and np.array_equal(found[:-1], even) and found[-1] == last


@pytest.mark.parametrize(("text", "code"), [("fp8", 0x7F), ("fp8", 0xFF), ("fp8e5", 0x7C), ("fp8e5", 0xFE), ("t2", 3)])
def test_codes_of_no_number_are_refused(text: str, code: int) -> None:
    codes = np.zeros((16, 16), np.uint8)
    codes[3, 5] = code
    with pytest.raises(UnsupportedError, match="no finite value"):
        pack(codes, np.ones((16, 1), np.float16), None, WeightFormat.parse(text))


def test_every_float_of_4_bits_comes_back() -> None:
    values = np.array([*UNITS, *(-u for u in UNITS)], np.float32)
    found, scale, fmt = row("mxfp4", np.tile(values * 2.0**-3, 2))
    assert scale == 2.0**-4 and np.array_equal(dequantize(found[None], scale, None, fmt)[0], np.tile(values, 2) / 8)
    assert set(found) == set(range(16)) - {8}  # one zero is enough


def test_every_level_of_nf4_comes_back() -> None:
    found, scale, fmt = row("nf4g32", np.array(NF4))
    assert np.array_equal(found, np.arange(16))
    assert np.abs(dequantize(found[None], scale, None, fmt)[0] - NF4).max() <= 0.5 / 127 + 2**-11
