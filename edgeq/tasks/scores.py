"""Logits become probabilities and named answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Answer = dict[str, Any]  # {"label": str, "score": float}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Along the last axis, f32."""
    powers = np.exp(logits.astype(np.float32) - logits.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True), np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Element by element, f32, without overflow."""
    small = np.exp(-np.abs(logits.astype(np.float32)))
    return np.where(logits >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)


def scores(logits: np.ndarray, activation: str) -> np.ndarray:
    """`activation`: `softmax`, `sigmoid`, or `none` (a regression's value)."""
    return {"softmax": softmax, "sigmoid": sigmoid, "none": lambda x: np.asarray(x, np.float32)}[activation](logits)


def ranked(values: np.ndarray, labels: Sequence[str], top_k: int = 0) -> list[Answer]:
    """`{"label", "score"}` of each class, best first; `top_k` 0 is all of them."""
    order = np.argsort(-values, kind="stable")[: top_k or None]
    return [{"label": labels[i], "score": float(values[i])} for i in order]
