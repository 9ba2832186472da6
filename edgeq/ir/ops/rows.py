"""The last valid row of a chunk."""

from __future__ import annotations

from torch import Tensor

from edgeq.ir.ops.library import opaque


def _last_row_shape(x: Tensor, n_valid: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], 1, *x.shape[2:])


@opaque("last_row(Tensor x, Tensor n_valid) -> Tensor", _last_row_shape)
def last_row(x: Tensor, n_valid: Tensor) -> Tensor:
    """Row `n_valid - 1` of x `[B, S, width]` as `[B, 1, width]`; n_valid `[1]`, 1..S."""
    return x.index_select(1, n_valid.reshape(1) - 1)
