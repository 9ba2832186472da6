"""How far outputs are from the float model's, summed over samples."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CHUNK = 64  # rows of logits in float64 at a time


class Divergence:
    """Mean KL(float || quantized) of next-token probabilities, in nats a token."""

    def __init__(self) -> None:
        self.total, self.rows = 0.0, 0

    def add(self, target: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        """One sample: the logits `[..., C]` of either."""
        p, q = (one[0].flatten(0, -2) for one in (target, found))
        self.total += float(divergences(p, q).sum())
        self.rows += len(p)

    @property
    def damage(self) -> float:
        """Not below 0: rounding of float sums is no gain."""
        return max(0.0, self.total / max(1, self.rows))


class RelativeError:
    """`|quantized - float| / |float|` over all values of all samples, the mean over outputs."""

    def __init__(self) -> None:
        self.error: list[float] = []
        self.size: list[float] = []

    def add(self, target: Sequence[Tensor], found: Sequence[Tensor]) -> None:
        """One sample: every output of either."""
        self.error = self.error or [0.0] * len(target)
        self.size = self.size or [0.0] * len(target)
        for i, (t, f) in enumerate(zip(target, found, strict=True)):
            self.error[i] += float((f.double() - t.double()).square().sum())
            self.size[i] += float(t.double().square().sum())

    @property
    def damage(self) -> float:
        """0 when there was no sample."""
        pairs = list(zip(self.error, self.size, strict=True))
        return sum((e / max(s, 1e-30)) ** 0.5 for e, s in pairs) / max(1, len(pairs))


Harm = Divergence | RelativeError


def divergences(p: Tensor, q: Tensor) -> Tensor:
    """f64 `[rows]`: KL(softmax p || softmax q) of logits `[rows, C]`."""
    found = []
    for a, b in zip(p.split(CHUNK), q.split(CHUNK), strict=True):
        log_a, log_b = a.double().log_softmax(-1), b.double().log_softmax(-1)
        found.append((log_a.exp() * (log_a - log_b)).sum(-1))
    return torch.cat(found)
