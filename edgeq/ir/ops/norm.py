"""Root-mean-square normalisation, whole rows or a head at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.ir.ops.library import composite

SCHEMA = "rms_norm(Tensor x, Tensor? w=None, Tensor? b=None, *, float eps, float offset=0., int heads=1) -> Tensor"


@composite(SCHEMA)
def rms_norm(
    x: Tensor, w: Tensor | None = None, b: Tensor | None = None, *, eps: float, offset: float = 0.0, heads: int = 1
) -> Tensor:
    """Normalise each of `heads` slices of the last axis, times `w + offset`, plus b.

    x `[..., width]`, w and b `[width/heads]`. Models have no b: a shift that a pass folds into the norm becomes one.
    """
    slices = x.unflatten(-1, (heads, x.shape[-1] // heads)) if heads > 1 else x
    y = slices * torch.rsqrt(slices.pow(2).mean(-1, keepdim=True) + eps)
    if w is not None:
        y = y * (w + offset if offset else w)
    y = y if b is None else y + b
    return y.flatten(-2) if heads > 1 else y
