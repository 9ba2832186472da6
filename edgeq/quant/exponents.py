"""Scales that are powers of two, kept as one byte: E8M0 of OCP's microscaling formats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import UnsupportedError

HALF = 128  # of a stored byte e: a level, which counts halves, is worth 2^(e - 128)


def exponents(scale: NDArray[Any]) -> NDArray[np.uint8]:
    """Bytes of scales that are powers of two (of a level: half of the block's scale); a scale 0 becomes the smallest.

    Raises UnsupportedError for a scale that is no power of two.
    """
    values = scale.astype(np.float64)
    mantissa, exponent = np.frexp(np.where(values == 0, 2.0**-24, values))
    if (mantissa != 0.5).any():
        raise UnsupportedError("mxfp4: a scale that is no positive power of two")
    return (exponent - 1 + HALF).astype(np.uint8)


def power_of_two(stored: NDArray[np.uint8]) -> NDArray[np.float16]:
    """What a level of each byte is worth, float16: 0 and infinity beyond its range, which packing never stores."""
    with np.errstate(over="ignore"):
        return np.ldexp(1.0, stored.astype(np.int32) - HALF).astype(np.float16)
