"""What a call should leave in memory, and how what it left is compared with that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

FLOAT_TOLERANCE = 1e-5  # of the largest magnitude along the last axis
TIE = 1e-4  # of a code: closer than this to halfway, float32 and float64 may round apart
TINY = 1e-12  # smaller magnitudes count as this: the scale of a row of zeros has no meaning


@dataclass(frozen=True)
class Expected:
    """Values of elements of one pointer parameter.

    Attributes:
        param: the parameter. index: element numbers from its pointer, of the shape of `values`.
        values: float64; of `codes` before rounding; of `exact` of the stored type.
        dtype: stored type.
        rule: `float` (within FLOAT_TOLERANCE), `codes` (to nearest, either way at a tie) or `exact` (bit for bit).
    """

    param: str
    index: np.ndarray
    values: np.ndarray
    dtype: Any
    rule: str = "float"

    def rounded(self) -> np.ndarray:
        """The values as they would be stored."""
        values = np.rint(self.values) if self.rule == "codes" else self.values
        return values.astype(self.dtype)


@dataclass(frozen=True)
class Finding:
    """One comparison of `count` elements: the largest relative `error` of floats, `wrong` integers, `ties` of codes."""

    kernel: str
    family: str
    param: str
    rule: str
    count: int
    error: float = 0.0
    wrong: int = 0
    ties: int = 0
    where: str = field(default="", compare=False)

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return self.wrong == 0 and self.error <= FLOAT_TOLERANCE


def rows_of(rows: int, stride: int, width: int | None = None, start: int = 0) -> np.ndarray:
    """Element numbers [rows, width] of columns start.. of a matrix with `stride` columns."""
    columns = np.arange(start, start + (stride if width is None else width))
    return np.arange(rows)[:, None] * stride + columns


def compare(got: np.ndarray, want: Expected) -> dict[str, Any]:
    """`error`, `wrong` and `ties` of a Finding."""
    if want.rule == "exact":
        unequal = got.view(np.uint8) != np.ascontiguousarray(want.rounded()).view(np.uint8)
        return {"wrong": int(unequal.reshape(want.values.size, -1).any(-1).sum())}
    if want.rule == "codes":
        other = got != np.rint(want.values)
        near = np.abs(got - want.values) <= 0.5 + TIE
        return {"wrong": int((other & ~near).sum()), "ties": int((other & near).sum())}
    return {"error": relative_error(got, want.values)}


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    """Largest |got - want| over the largest |want| along the last axis; NaN counts as infinite."""
    if not want.size:
        return 0.0
    scale = np.maximum(np.abs(want).max(-1, keepdims=True), TINY)
    worst = float((np.abs(got.astype(np.float64) - want) / scale).max())
    return worst if np.isfinite(worst) else float("inf")
