"""Codes and scales of groups whose values are levels of a table, bytes of floats, or codes with an offset.

A fit is a function (groups f32[R, G, L], format, method) -> (codes u8[R, G, L], scale f16[R, G * numbers], zero or
offset [R, G] or None). Codes are nearest for the scale as it is stored. `method`: `minmax` covers every value, `mse`
searches for the scale of least squared error; two and three levels are always fitted by least squares.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from edgeq.quant.codebooks import codebook, planes
from edgeq.quant.format import K_MULTIPLE, WeightFormat
from edgeq.quant.icq import information_calibrated
from edgeq.quant.stored_scale import stored_scale

Fit = Callable[[Tensor, WeightFormat, str, str], tuple[Tensor, Tensor, "Tensor | None"]]
ROUNDS = 10  # of alternating fits; they stop to change long before
_SHRINK = torch.linspace(0.7, 1.05, 15).tolist()
_FLOATS = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
_NORMAL = -14  # smallest exponent of a normal fp16


def nearest_level(values: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Code of the nearest level of each value, u8; halfway between two, the lower level."""
    ordered, order = torch.tensor(levels, dtype=torch.float32).sort(stable=True)
    bounds = (ordered[1:] + ordered[:-1]) / 2
    return order.to(torch.uint8)[torch.bucketize(values, bounds)]


def binary(groups: Tensor, fmt: WeightFormat, method: str, name: str) -> tuple[Tensor, Tensor, None]:
    """Signs (0 counts as +1) times the mean magnitude: least squares (XNOR-Net, eq. 6).

    Columns that pad a group (zeros in every row, fewer than 16, at its end) are never multiplied, and do not count.
    """
    magnitude = groups.abs()
    count = groups.shape[-1] - _padding(magnitude)
    return (groups >= 0).to(torch.uint8), stored_scale(magnitude.sum(-1) / count, name), None


def _padding(magnitude: Tensor) -> Tensor:
    """How many columns pad each group of `[R, G, L]`: f32 `[G]`; 0 where more are zeros than pad anything."""
    dead = (magnitude.amax(0) == 0).flip(-1).cumprod(-1).sum(-1)
    return torch.where(dead < K_MULTIPLE, dead, 0).float()


def ternary(groups: Tensor, fmt: WeightFormat, method: str, name: str) -> tuple[Tensor, Tensor, None]:
    """Threshold 0.75 mean|w| (TWN, eq. 6), then kept weights and their mean in turns: the error never rises."""
    magnitude = groups.abs()
    kept = magnitude > 0.75 * magnitude.mean(-1, keepdim=True)
    for _ in range(ROUNDS):
        scale = (magnitude * kept).sum(-1) / kept.sum(-1).clamp(min=1)
        kept = magnitude > scale.unsqueeze(-1) / 2
    scale = stored_scale((magnitude * kept).sum(-1) / kept.sum(-1).clamp(min=1), name)
    kept = magnitude > scale.float().unsqueeze(-1) / 2
    return (1 + torch.sign(groups) * kept).to(torch.uint8), scale, None


def table(groups: Tensor, fmt: WeightFormat, method: str, name: str) -> tuple[Tensor, Tensor, None]:
    """Levels of a table: the largest magnitude meets the largest level, or the scale of least squared error."""
    assert fmt.levels is not None
    widest = groups.abs().amax(-1) / max(map(abs, fmt.levels))
    if fmt.levels[-1] != -min(fmt.levels):  # a table that is longer on one side
        widest = torch.maximum(groups.amax(-1) / max(fmt.levels), groups.amin(-1) / min(fmt.levels))
    scale = _best([widest * f for f in _SHRINK], groups, fmt, name) if method == "mse" else stored_scale(widest, name)
    return nearest_level(_divided(groups, scale), fmt.levels), scale, None


def power_of_two(groups: Tensor, fmt: WeightFormat, method: str, name: str) -> tuple[Tensor, Tensor, None]:
    """MXFP4: `2^(floor(log2 absmax) - 2)` a block (OCP MX 1.0, 6.3), or the next larger where that has less error."""
    assert fmt.levels is not None
    exponent = torch.floor(torch.log2(groups.abs().amax(-1).clamp(min=2.0**-20))) - 3  # of a level: half a unit
    plain = torch.exp2(exponent.clamp(-23, 14))
    scale = _best([plain, plain * 2], groups, fmt, name) if method == "mse" else plain.half()
    return nearest_level(_divided(groups, scale), fmt.levels), scale, None


def floats(groups: Tensor, fmt: WeightFormat, method: str, name: str) -> tuple[Tensor, Tensor, None]:
    """FP8: the largest magnitude meets the largest number, codes are nearest, ties to even."""
    dtype = _FLOATS[fmt.kind]
    largest = torch.finfo(dtype).max
    scale = stored_scale(groups.abs().amax(-1) / largest, name)
    values = _divided(groups, scale).clamp(-largest, largest)
    return values.to(dtype).view(torch.uint8), scale, None


def offset(groups: Tensor, fmt: WeightFormat, method: str, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """`code * scale - offset`: from the smallest weight to the largest, both in fp16 (GGUF's Q4_1)."""
    low, high = groups.amin(-1), groups.amax(-1)
    shift = stored_scale(-low, name)
    scale = stored_scale((high + shift.float()) / (fmt.codes - 1), name)
    codes = _divided(groups + shift.float().unsqueeze(-1), scale).round_().clamp_(0, fmt.codes - 1)
    return codes.to(torch.uint8), scale, shift


FITS: dict[str, Fit] = {
    "binary": binary, "ternary": ternary, "trits": ternary, "nf": table, "mx": power_of_two, "e4m3": floats,
    "e5m2": floats, "min": offset, "nfm": information_calibrated, "planes": planes, "codebook": codebook,
}  # fmt: skip


def fit_of(fmt: WeightFormat) -> Fit | None:
    """How weights of this kind are fitted; None of plain integers, which `ranges` finds."""
    return table if fmt.kind.startswith("log") else FITS.get(fmt.kind)


def _divided(groups: Tensor, scale: Tensor) -> Tensor:
    wide = scale.float().unsqueeze(-1)
    return torch.where(wide == 0, 0.0, groups / torch.where(wide == 0, 1.0, wide))


def _best(candidates: list[Tensor], groups: Tensor, fmt: WeightFormat, name: str) -> Tensor:
    """Of scales `[R, G]` each, the one of least squared error, as stored."""
    assert fmt.levels is not None
    levels = torch.tensor(fmt.levels, dtype=torch.float32)
    best, least = stored_scale(candidates[0], name), torch.full(groups.shape[:-1], torch.inf)
    for candidate in candidates:
        scale = stored_scale(candidate, name)
        values = levels[nearest_level(_divided(groups, scale), fmt.levels).long()] * scale.float().unsqueeze(-1)
        error = (groups - values).square().sum(-1)
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best
