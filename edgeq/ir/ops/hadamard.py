"""Hadamard rotation of slices of the last axis; also a weight expression, as the other half of a rotation is folded."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from torch import Tensor

from edgeq.ir.hadamard import dense_matrix, factors
from edgeq.ir.hadamard import sylvester as sylvester_matrix
from edgeq.ir.ops.library import composite

RADIX = 64  # a Sylvester matrix is applied in factors of this order, as products that BLAS is good at


@composite("hadamard(Tensor x, *, int size) -> Tensor")
def hadamard(x: Tensor, *, size: int) -> Tensor:
    """Each consecutive slice of `size` channels of x `[..., width]`, a row vector, times `H / sqrt(size)`.

    H is `edgeq.ir.hadamard.hadamard_matrix(size)` (QuaRot, NeurIPS 2024). Rotating `x` and the columns of the weight
    that reads it leaves the product as it was: `(x H) (W H)^T = size x W^T`.

    Raises UnsupportedError for a size without a known matrix.
    """
    m, power = factors(size)
    y = _butterflies(x, power)
    if m > 1:
        y = (x.new_tensor(dense_matrix(m).T.copy()) @ y.unflatten(-1, (-1, m, power))).flatten(-3)
    return y * size**-0.5


def _butterflies(x: Tensor, power: int) -> Tensor:
    """Each consecutive slice of `power` channels times Sylvester's matrix (symmetric), factor by factor."""
    step = 1
    while step < power:
        radix = min(RADIX, power // step)
        factor = x.new_tensor(_sylvester(radix))
        if step == 1:
            x = (x.unflatten(-1, (-1, radix)) @ factor).flatten(-2)
        else:
            x = (factor @ x.unflatten(-1, (-1, radix, step))).flatten(-3)
        step *= radix
    return x


@lru_cache(maxsize=8)
def _sylvester(order: int) -> np.ndarray:
    return sylvester_matrix(order)
