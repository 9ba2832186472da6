"""Small seeded photos in every form that is decoded."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image


def smooth(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """u8[H, W, C]: soft blobs with a little noise, as photos are."""
    rng = np.random.default_rng((seed, height, width))
    small = rng.integers(0, 256, (height // 6 + 2, width // 6 + 2, channels), np.uint8)
    planes = [np.asarray(Image.fromarray(small[..., i]).resize((width, height), 3)) for i in range(channels)]
    noisy = np.stack(planes, -1).astype(int) + rng.integers(-9, 10, (height, width, channels))
    return noisy.clip(0, 255).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The file that Pillow writes."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned(orientation: int) -> Image.Exif:
    """EXIF data with an orientation."""
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif
