"""Logits in the photo's size, and the file a mask is written to."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_library import Refused, full_mask, png
from PIL import Image

from edgeq.tasks.image import Prepared
from edgeq.tasks.segmentation import full_size

SIDE = 64


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_masks_are_those_of_edgeq_tasks(height, width, seed):
    scale = SIDE / max(height, width)
    small = max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
    logits = np.random.default_rng(seed).normal(size=(16, 24)).astype(np.float32)  # 16 columns and 8 lanes
    seen = Prepared(np.zeros((3, SIDE, SIDE), np.float32), (height, width), small)
    want = full_size(logits[:, :16], seen) > 0
    assert np.array_equal(full_mask(logits, 16, (SIDE, SIDE), (height, width), small), want * 255)


def test_a_photo_larger_than_the_square_is_refused():
    with pytest.raises(Refused, match="does not fit"):
        full_mask(np.zeros((4, 4), np.float32), 4, (8, 8), (20, 20), (9, 8))


MASKS = {
    "empty": np.zeros((30, 70), bool),
    "full": np.ones((1, 1), bool),
    "one row": np.arange(700)[None, :] % 300 < 200,
    "disc": np.hypot(*np.mgrid[-99:101, -150:150]) < 80,
    "noise": np.random.default_rng(0).random((41, 33)) < 0.5,
    "wider than deflate sees": np.random.default_rng(0).random((3, 33000)) < 0.001,
}


@pytest.mark.parametrize("name", MASKS)
def test_the_file_holds_the_mask(name):
    mask = MASKS[name].astype(np.uint8) * 255
    image = Image.open(io.BytesIO(png(mask)))
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), mask)


def test_any_bytes_survive():
    grey = np.random.default_rng(1).integers(0, 256, (60, 77), np.uint8)
    grey[20:40] = grey[19]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(grey)))), grey)


def test_masks_are_packed():
    assert len(png(MASKS["disc"].astype(np.uint8) * 255)) < 2500  # of 60,000 pixels
