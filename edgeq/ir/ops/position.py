"""Rotary position embedding on token-major activations."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.ir.ops.library import composite


@composite("rope(Tensor x, Tensor pos, Tensor inv_freq, *, int heads, float scale=1.) -> Tensor")
def rope(x: Tensor, pos: Tensor, inv_freq: Tensor, *, heads: int, scale: float = 1.0) -> Tensor:
    """Rotate-half on the first `2*len(inv_freq)` channels of each head (RoFormer, eq. 34, halves instead of pairs).

    x `[B, S, heads*D]`, pos `[B|1, S]`, inv_freq `[R]` with 2R <= D; cos and sin are multiplied by `scale`.
    """
    half = inv_freq.shape[0]
    angle = (pos[..., None].float() * inv_freq.float())[:, :, None, :]
    cos, sin = (angle.cos() * scale).to(x.dtype), (angle.sin() * scale).to(x.dtype)
    head = x.unflatten(-1, (heads, x.shape[-1] // heads))
    a, b, rest = head[..., :half], head[..., half : 2 * half], head[..., 2 * half :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], -1).flatten(-2)
