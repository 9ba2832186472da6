"""Resizing is Pillow's, bit for bit, for every filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_library import resize
from PIL import Image

FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def expected(pixels: np.ndarray, width: int, height: int, resample: int) -> np.ndarray:
    """In Pillow 13's order of passes, which older versions do not have: a direction at a time."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    rows_first = image.height - height > max(2 * (image.width - width), 0)
    first = (image.width, height) if rows_first else (width, image.height)
    if resample:
        image = image.resize(first, Image.Resampling(resample))
    found = np.asarray(image.resize((width, height), Image.Resampling(resample)))
    return found.reshape(height, width, -1)


@given(
    st.sampled_from(sorted(FILTERS)), st.lists(st.integers(1, 120), min_size=4, max_size=4), st.sampled_from([1, 3]),
    st.booleans(), st.integers(0, 2**32),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_any_size_to_any_size(name, sizes, channels, black_and_white, seed):
    height, width, to_height, to_width = sizes
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    if black_and_white:  # the overshoot of the sharper filters is cut off
        pixels = (pixels > 127).astype(np.uint8) * 255
    found = resize(pixels, to_width, to_height, FILTERS[name])
    assert np.array_equal(found, expected(pixels, to_width, to_height, FILTERS[name]))


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [(900, 1200, 768, 1024), (2000, 37, 64, 500), (40, 1900, 224, 224)])
def test_sizes_of_photos(name, size):
    height, width, to_height, to_width = size
    pixels = np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)
    found = resize(pixels, to_width, to_height, FILTERS[name])
    assert np.array_equal(found, expected(pixels, to_width, to_height, FILTERS[name]))
