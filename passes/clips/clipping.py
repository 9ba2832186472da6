"""How far a static scale should reach: the largest magnitude that is kept, from what an activation was on samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeq.ir.ops.fake_quant import largest_code

BINS = 1 << 16  # of a histogram: several a step even where a clip is a hundredth of the largest value
COARSE = 2048  # bins that the divergence is measured on
CLIPS = 128  # candidates of least squared error
FLOOR = 1e-10  # of a probability, and of a limit


@dataclass(frozen=True, eq=False)
class Histogram:
    """Counts of |x| in equal bins over 0..top, f64 `[BINS]`: the memory does not grow with the samples.

    `zeros` values are exactly 0 (ReLU, padding): they are in no bin, as every grid holds 0.
    """

    counts: Tensor
    top: float
    zeros: int

    @classmethod
    def of(cls, parts: Sequence[Tensor]) -> Histogram:
        """Of the values of all tensors: once over them for the range, once for the counts."""
        top = max((float(part.abs().max()) for part in parts if part.numel()), default=0.0)
        counts, zeros = torch.zeros(BINS, dtype=torch.float64), 0
        for part in parts:
            sizes = part.abs().flatten()
            sizes = sizes[sizes > 0]
            zeros += part.numel() - len(sizes)
            counts += torch.bincount((sizes * (BINS / max(top, FLOOR))).long().clamp_(max=BINS - 1), minlength=BINS)
        return cls(counts, top, zeros)

    @property
    def width(self) -> float:
        """Of a bin."""
        return self.top / BINS

    @property
    def centres(self) -> Tensor:
        """Magnitude in the middle of each bin, f64 `[BINS]`."""
        return (torch.arange(BINS, dtype=torch.float64) + 0.5) * self.width


def minmax(seen: Histogram, bits: int) -> float:
    """The largest magnitude: nothing is clipped."""
    return seen.top


def percentile(seen: Histogram, percent: float) -> float:
    """The magnitude that `percent` of all values do not exceed, to a bin; 100 is the largest."""
    wanted = (float(seen.counts.sum()) + seen.zeros) * percent / 100
    full = torch.cumsum(seen.counts, 0) + seen.zeros
    index = int(torch.searchsorted(full, torch.tensor(wanted, dtype=torch.float64)))
    return min((index + 1) * seen.width, seen.top)


def mse(seen: Histogram, bits: int) -> float:
    """The clip of least squared error, rounding and clipping together."""
    used = seen.counts.nonzero().flatten()
    counts, centres, top = seen.counts[used], seen.centres[used], largest_code(bits)
    best, least = seen.top, float("inf")
    for i in range(CLIPS, 0, -1):
        clip = seen.top * i / CLIPS
        step = clip / top
        kept = torch.round(centres / step).clamp_(max=top) * step
        error = float((counts * (kept - centres).square()).sum())
        if error < least:
            best, least = clip, error
    return best


def kl(seen: Histogram, bits: int) -> float:
    """The clip whose coarse values keep most of the distribution (TensorRT's entropy calibration, GTC 2017).

    P: 2048 bins cut at a clip, what is beyond added to the last; Q: P's bins in `2^(bits-1)` levels, each level's count
    shared out over its bins that are not empty. The clip of least divergence of Q from P.
    """
    counts = seen.counts.reshape(COARSE, -1).sum(1)
    levels = 2 ** (bits - 1)
    divergences = {end: _divergence(counts, end, levels) for end in range(min(levels, COARSE), COARSE + 1)}
    return seen.top * min(reversed(divergences), key=divergences.__getitem__) / COARSE


def _divergence(counts: Tensor, end: int, levels: int) -> float:
    inside = counts[:end]
    p = inside.clone()
    p[-1] += counts[end:].sum()
    level = torch.arange(end) * levels // end
    live = (inside > 0).double()
    sums, members = (torch.zeros(levels, dtype=torch.float64).index_add_(0, level, t) for t in (inside, live))
    q = (sums / members.clamp(min=1))[level] * live
    p, q = p / p.sum().clamp(min=FLOOR), (q / q.sum().clamp(min=FLOOR)).clamp(min=FLOOR)
    return float(torch.xlogy(p, p / q).sum())


METHODS: dict[str, Callable[[Histogram, int], float]] = {"minmax": minmax, "mse": mse, "kl": kl}


def tokens_limit(high: Tensor, low: Tensor, alpha: float) -> float:
    """Token-wise clipping: the larger of the alpha-quantile of tokens' maxima and the (1-alpha)-quantile of minima.

    Outlier Suppression (NeurIPS 2022, section 4.2), its two bounds made symmetric. high, low: f32 `[tokens]`, each
    token's largest and least value. alpha = 1 clips nothing.
    """
    upper, lower = torch.quantile(high, alpha), torch.quantile(low, 1 - alpha)
    return float(torch.maximum(upper, -lower))
