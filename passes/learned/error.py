"""How far a window's outputs are from the float model's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, fx

FLOOR = 1e-20  # of a row's square: a row of zeros that is met counts nothing


def window_error(
    found: Mapping[fx.Node, Tensor], target: Mapping[fx.Node, Tensor], counted: Tensor, kl: float = 0.0
) -> Tensor:
    """`|h_fp - h_q|^2 + kl * KL(softmax(h_fp) || softmax(h_q))`, relative (CBQ, ICLR 2025, eq. 5).

    An attention sink is a thousand times as large as other tokens: by squares alone it would be all that is learned,
    and as one token of many it would be lost, and the model with it. So the square counts twice: of all rows together
    relative to all of the float model's, and the mean over rows, each relative to its own size (at least the median
    row's). Softmax runs over the features, the mean over rows.

    Args:
        found, target: activations `[..., C]` by node. counted: bool `[rows]`; those with another number of rows count
            whole.
    """
    total = torch.zeros(())
    for node, goal in target.items():
        a, b = _rows(found[node], counted), _rows(goal, counted)
        size = b.square().sum(-1)
        lost = (a - b).square().sum(-1)
        own = (lost / torch.maximum(size, size.median()).clamp(min=FLOOR)).mean()
        total = total.to(a.device) + own + lost.sum() / size.sum().clamp(min=FLOOR)
        if kl:
            total = total + kl * divergence(a, b).mean()
    return total


def divergence(found: Tensor, target: Tensor) -> Tensor:
    """KL(softmax(target) || softmax(found)) of each row `[..., C]`, nats."""
    p, q = target.log_softmax(-1), found.log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def _rows(x: Tensor, counted: Tensor) -> Tensor:
    rows = x.flatten(0, -2)
    return rows[counted.to(x.device)] if len(rows) == len(counted) and not bool(counted.all()) else rows
