"""Queries and keys as signs: what attention reads whose scores are counted (`kernels/attend_signs.py`)."""

from __future__ import annotations

from torch import Tensor

from edgeq.ir.ops.library import composite
from edgeq.ir.ops.signs import sign_tokens


@composite("sign_heads(Tensor x, *, int heads) -> Tensor")
def sign_heads(x: Tensor, *, heads: int) -> Tensor:
    """Each of `heads` equal slices of x `[..., width]`: `sign(x) * mean |x|` over the slice, the sign of 0 is +1."""
    signs, mean = sign_tokens(x.unflatten(-1, (heads, -1)))
    return (signs * mean[..., None]).flatten(-2).to(x.dtype)
