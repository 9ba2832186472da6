"""NF4 with offsets that let codes carry most information: the calibration of IR-QLoRA (ICML 2024).

A group is shifted by tau before it is rounded to NF4: `w ~ level * scale + tau`. Of 201 candidates around the median,
`tau0 + f * max|w - tau0|`, the one whose codes have the greatest entropy is taken; of equal ones that of least |f|.
Entropy is not error, so a group keeps its tau only where that leaves less squared error than none.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.quant.format import WeightFormat
from edgeq.quant.stored_scale import stored_scale

STEPS = 100  # candidates to either side of the median
WIDTH = 0.1 * 0.5410  # of the search; 1 / the normal quantile that NF4 is made with (0.9677083)


def information_calibrated(
    groups: Tensor, fmt: WeightFormat, method: str = "minmax", name: str = "weight"
) -> tuple[Tensor, Tensor, Tensor]:
    """Codes u8 `[R, G, L]`, scale and offset (`-tau`) f16 `[R, G]` of groups f32 `[R, G, L]`: a fit of `fits.py`."""
    shift = most_informative(groups, fmt, name)
    with_tau, without = rounded(groups, shift, fmt, name), rounded(groups, torch.zeros_like(shift), fmt, name)
    worse = _error(groups, with_tau, fmt) >= _error(groups, without, fmt)
    codes, scale, offset = (
        torch.where(worse.unsqueeze(-1) if a.ndim == 3 else worse, b, a)
        for a, b in zip(with_tau, without, strict=True)
    )
    return codes, scale, offset


def most_informative(groups: Tensor, fmt: WeightFormat, name: str = "weight", steps: int = STEPS) -> Tensor:
    """tau f32 `[R, G]` of greatest entropy among `2 * steps + 1` candidates, as it is stored."""
    ordered = groups.sort(-1).values
    middle = groups.median(-1).values
    reach = torch.maximum(ordered[..., -1] - middle, middle - ordered[..., 0])
    best, most = middle, torch.full_like(middle, -1, dtype=torch.float64)
    for f in (WIDTH * i / max(steps, 1) for i in sorted(range(-steps, steps + 1), key=abs)):
        tau = stored_scale(middle + f * reach, name).float()
        found = entropy(_counts(ordered, _edges(ordered, tau, fmt, name)))
        better = found > most + 1e-9  # equal counts in another order are no gain
        best, most = torch.where(better, tau, best), torch.where(better, found, most)
    return best


def rounded(groups: Tensor, tau: Tensor, fmt: WeightFormat, name: str = "weight") -> tuple[Tensor, Tensor, Tensor]:
    """Codes, scale and offset of groups that are shifted by `tau` f32 `[R, G]`."""
    offset = stored_scale(-tau, name)
    edges = _edges(groups, -offset.float(), fmt, name)
    codes = (groups.unsqueeze(-1) > edges.unsqueeze(-2)).sum(-1)
    return codes.to(torch.uint8), _scale(groups, -offset.float(), fmt, name), offset


def entropy(counts: Tensor) -> Tensor:
    """Of codes that occur `counts` `[..., codes]` times, in nats, f64."""
    share = counts.double() / counts.sum(-1, keepdim=True)
    return -torch.xlogy(share, share).sum(-1)


def _scale(groups: Tensor, tau: Tensor, fmt: WeightFormat, name: str) -> Tensor:
    """f16: the weight farthest from tau meets the largest level."""
    assert fmt.levels is not None
    return stored_scale(torch.maximum(groups.amax(-1) - tau, tau - groups.amin(-1)) / max(fmt.levels), name)


def _edges(groups: Tensor, tau: Tensor, fmt: WeightFormat, name: str) -> Tensor:
    """Weights above which each next code is nearer, `[R, G, codes - 1]`."""
    levels = torch.tensor(fmt.levels, dtype=torch.float32)
    scale = _scale(groups, tau, fmt, name).float().unsqueeze(-1)
    return (levels[1:] + levels[:-1]) / 2 * scale + tau.unsqueeze(-1)


def _counts(ordered: Tensor, edges: Tensor) -> Tensor:
    """How often each code occurs in sorted groups."""
    below = torch.searchsorted(ordered, edges.contiguous(), right=True)
    ends = torch.full_like(below[..., :1], ordered.shape[-1])
    return torch.diff(torch.cat([torch.zeros_like(ends), below, ends], -1))


def _error(groups: Tensor, fitted: tuple[Tensor, Tensor, Tensor], fmt: WeightFormat) -> Tensor:
    codes, scale, offset = fitted
    levels = torch.tensor(fmt.levels, dtype=torch.float32)
    values = levels[codes.long()] * scale.float().unsqueeze(-1) - offset.float().unsqueeze(-1)
    return (groups - values).square().sum(-1)
