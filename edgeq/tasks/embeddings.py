"""Embeddings from what an encoder returns."""

from __future__ import annotations

import numpy as np


def normalized(rows: np.ndarray) -> np.ndarray:
    """Rows f32[..., D] of length one; zero rows stay zero."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12), np.float32)


def similarity(left: np.ndarray, right: np.ndarray | None = None) -> np.ndarray:
    """Cosine of every row of `left` with every row of `right` (itself by default), f32[n, m]."""
    first = normalized(left)
    return np.asarray(first @ (first if right is None else normalized(right)).T, np.float32)
