"""Channels of an activation in another order: what a linear reads whose columns were permuted, or padded."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.ir.ops.library import composite


@composite("columns(Tensor x, Tensor index) -> Tensor")
def columns(x: Tensor, index: Tensor) -> Tensor:
    """`y[..., j] = x[..., index[j]]`, zero where `index[j]` is -1.

    Args:
        x: `[..., width]`. index: i32 `[count]`, each -1 or below width; a channel may come several times.
    """
    picked = x.index_select(-1, index.clamp(min=0))
    return torch.where(index >= 0, picked, torch.zeros((), dtype=x.dtype, device=x.device))
