"""Attention's probabilities and values as integers: what `edgeq.attention` means with `probs`."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.ir.probabilities import ProbabilityGrid

FLOOR = 1e-20  # of a channel's largest magnitude, as in kernels/attend_values.py


def coded_product(p: Tensor, v: Tensor, probs: str, s: Tensor) -> Tensor:
    """Probabilities `[..., S, L]` on their grid by int8 values `[..., L, Dv]`; s `[1]`: the grid's largest level.

    Values have a scale a channel, the largest magnitude over all keys (of an example and a head) / 127. Gradients go
    straight through both roundings.
    """
    return _straight(p, on_grid(p, probs, s)) @ _straight(v, values(v))


def codes(p: Tensor, probs: str, s: Tensor) -> Tensor:
    """Probabilities -> codes of the grid (int64)."""
    grid = ProbabilityGrid.parse(probs)
    steps = torch.log2(p / s) * -grid.tau if grid.tau else p * (grid.last / s)
    return torch.round(steps.clamp(0, grid.last)).long()


def on_grid(p: Tensor, probs: str, s: Tensor) -> Tensor:
    """Probabilities as the grid gives them back."""
    levels = torch.tensor(ProbabilityGrid.parse(probs).levels, dtype=p.dtype, device=p.device)
    return levels[codes(p, probs, s)] * s


def values(v: Tensor) -> Tensor:
    """Values `[..., L, Dv]` as int8 gives them back."""
    absmax = v.abs().amax(-2, keepdim=True).clamp(min=FLOOR)
    return torch.round(v * (127.0 / absmax)) * (absmax / 127.0)


def _straight(x: Tensor, rounded: Tensor) -> Tensor:
    return x + (rounded - x).detach() if x.requires_grad else rounded
