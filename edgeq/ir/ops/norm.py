"""Root-mean-square normalisation, whole rows or a head at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.ir.ops.library import composite


@composite("rms_norm(Tensor x, Tensor? w=None, *, float eps, float offset=0., int heads=1) -> Tensor")
def rms_norm(x: Tensor, w: Tensor | None = None, *, eps: float, offset: float = 0.0, heads: int = 1) -> Tensor:
    """Normalise each of `heads` slices of the last axis, times `w + offset`; x `[..., width]`, w `[width/heads]`."""
    slices = x.unflatten(-1, (heads, x.shape[-1] // heads)) if heads > 1 else x
    y = slices * torch.rsqrt(slices.pow(2).mean(-1, keepdim=True) + eps)
    if w is not None:
        y = y * (w + offset if offset else w)
    return y.flatten(-2) if heads > 1 else y
