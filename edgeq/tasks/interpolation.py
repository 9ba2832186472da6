"""Bilinear interpolation as torch.nn.functional.interpolate(mode="bilinear", align_corners=False) computes it."""

from __future__ import annotations

import numpy as np


def bilinear(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """f32[..., h, w] -> f32[..., height, width]."""
    low, high, part = _places(maps.shape[-2], height)
    rows = maps[..., low, :] * (1 - part)[:, None] + maps[..., high, :] * part[:, None]
    low, high, part = _places(maps.shape[-1], width)
    return np.asarray(rows[..., low] * (1 - part) + rows[..., high] * part, np.float32)


def _places(given: int, wanted: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `wanted` places: the two neighbours among `given`, and how far it lies towards the second."""
    at = np.maximum(
        (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * np.float32(given / wanted) - np.float32(0.5), 0
    )
    low = at.astype(np.int64)
    return low, np.minimum(low + 1, given - 1), (at - low).astype(np.float32)
