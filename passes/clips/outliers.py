"""Outliers of a vector of magnitudes, coarse to fine: quartiles find candidates, the widest gap splits them."""

from __future__ import annotations

import torch
from torch import Tensor

WHISKER = 1.5  # interquartile ranges above the third quartile
SPREAD = 1.0  # weight of the reserved candidates' variance


def reserved_maximum(magnitudes: Tensor) -> Tensor | None:
    """The largest magnitude that is no outlier, f32 scalar; None when there is no outlier.

    Coarse: candidates exceed `Q3 + 1.5 (Q3 - Q1)`. Fine: candidates in order are split in lower (reserved) and upper
    ones (outliers) where `(least outlier - largest reserved)^2 - variance(reserved)` is largest (CBQ, ICLR 2025,
    algorithm 1). Below the least candidate, what is compared with is the largest value that is none. Takes O(n), and
    O(k log k) for k candidates.
    """
    values = magnitudes.flatten().double()
    threshold = _fence(values)
    candidates = values[values > threshold].sort().values
    if not len(candidates):
        return None
    rest = values[values <= threshold]
    floor = rest.max()[None]
    below = torch.cat([floor, candidates[:-1]])
    gaps = candidates - below
    scores = gaps.square() - SPREAD * _variances(candidates)
    return below[int(scores.argmax())].float()


def _fence(values: Tensor) -> Tensor:
    """`Q3 + 1.5 (Q3 - Q1)`; quartiles are the elements of rank n/4 and 3n/4."""
    n = len(values)
    first, third = (values.kthvalue(max(1, -(-n * part // 4))).values for part in (1, 3))
    return third + WHISKER * (third - first)


def _variances(ordered: Tensor) -> Tensor:
    """Variance of the first i elements for i = 0..n-1 (0 of none), from prefix sums about the first."""
    count = torch.arange(1, len(ordered), dtype=ordered.dtype)
    centred = ordered[:-1] - ordered[0]
    mean = centred.cumsum(0) / count
    variance = (centred.square().cumsum(0) / count - mean.square()).clamp(min=0)
    return torch.cat([torch.zeros(1, dtype=ordered.dtype), variance])
