"""What the traced mask and attention mean, in torch, so that exported graphs run before they are raised."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.frontend.hooks import LIBRARY


def mask(like: Tensor, pad: Tensor | None, rows: int, keys: int, causal: bool, left: int, right: int) -> Tensor:
    """Bool `[B, 1, rows, keys]`: true where a query sees a key."""
    ahead = torch.arange(keys)[None] - torch.arange(rows)[:, None]
    seen = torch.ones(rows, keys, dtype=torch.bool)
    seen &= (ahead <= 0) | (not causal)
    seen &= (ahead >= -left) | (left < 0)
    seen &= (ahead <= right) | (right < 0)
    seen = seen.expand(like.shape[0], 1, rows, keys)
    return seen if pad is None else seen & pad[:, None, None, :].bool()


def attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, bias: Tensor | None, sinks: Tensor | None, scale: float,
    softcap: float,
) -> Tensor:
    """q `[B,H,S,D]`, k and v `[B,G,L,*]` -> `[B,S,H,Dv]`."""
    assert sinks is None and softcap == 0
    groups = q.shape[1] // k.shape[1]
    scores = q @ k.repeat_interleave(groups, 1).transpose(2, 3) * scale
    scores = scores if bias is None else scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return (scores.softmax(-1) @ v.repeat_interleave(groups, 1)).transpose(1, 2).contiguous()


LIBRARY.impl("mask", mask, "CPU")
LIBRARY.impl("attention", attention, "CPU")
