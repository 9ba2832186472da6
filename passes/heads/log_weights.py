"""A weight on logarithmic levels: which granularity, how long a group, which scale; then the scale learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeq.quant.fits import nearest_level
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize
from edgeq.quant.stored_scale import stored_scale

ROUNDS = 8  # of scales and codes in turns
DECIBELS_A_BIT = 6.02  # what a bit more is worth: half the step


@dataclass(frozen=True)
class Fitted:
    """Codes u8 `[N, K]`, scales f16 `[N, KG]`, and their squared error relative to the weight's square."""

    format: WeightFormat
    codes: Tensor
    scale: Tensor
    error: float


def fit(w: Tensor, fmt: WeightFormat) -> Fitted:
    """The levels of `fmt` in least squares: a searched scale, then codes and scales in turns. w f32 `[N, K]`."""
    assert fmt.levels is not None
    levels = torch.tensor(fmt.levels, dtype=torch.float32)
    codes, scale, _ = quantize(w, fmt, "mse")
    best, tables = torch.inf, (torch.from_numpy(codes), torch.from_numpy(scale))
    groups, size = _groups(w, fmt), fmt.group_size or w.shape[1]
    held = tables[1].float()
    for _ in range(ROUNDS):
        stored = stored_scale(held, "weight")
        picked = nearest_level(_divided(groups, stored), fmt.levels)
        values = levels[picked.long()]
        error = float((values * stored.float()[..., None] - groups).square().sum())
        if error < best:
            best, tables = error, (picked.flatten(1)[:, : w.shape[1]].contiguous(), stored)
        held = (values * groups).sum(-1) / values.square().sum(-1).clamp(min=1e-12)
    assert size
    return Fitted(fmt, *tables, best / float(w.square().sum().clamp(min=1e-30)))


def choose(w: Tensor, names: list[str], group_sizes: list[int]) -> Fitted:
    """The granularity of least error, and groups where they are worth the bits of their scales (6 dB a bit)."""
    found = [fit(w, WeightFormat.named(name, size)) for size in group_sizes for name in names]
    return min(found, key=lambda one: one.error * 10 ** (DECIBELS_A_BIT / 10 * one.format.bits_per_weight(w.shape[1])))


def even_error(w: Tensor, fmt: WeightFormat) -> float:
    """Squared error of w relative to its square, on the even levels of `fmt` with searched scales."""
    codes, scale, zero = quantize(w, fmt, "mse")
    held = torch.from_numpy(dequantize(codes, scale, zero, fmt))
    return float((held - w).square().sum() / w.square().sum().clamp(min=1e-30))


class LearnedLevels:
    """`w' = s l`, l the level nearest to w / s: s is learned, through the rounding (STE).

    The scale is where the affine part a of Reg-PTQ's logarithm is: `exp((c - a) / k) = exp(-a / k) exp(c / k)`.
    """

    def __init__(self, w: Tensor, fitted: Fitted) -> None:
        self._w, self.fitted = w, fitted
        self._groups = _groups(w, fitted.format)
        assert fitted.format.levels is not None
        self._levels = torch.tensor(fitted.format.levels, dtype=torch.float32)
        self._base = fitted.scale.float().clamp(min=1e-8)
        self.stretch = torch.zeros_like(self._base, requires_grad=True)  # the scale's logarithm, relative

    def weight(self) -> Tensor:
        """f32 `[N, K]`."""
        scale = (self._base * self.stretch.exp())[..., None]
        x = self._groups / scale
        picked = self._levels[nearest_level(x.detach(), self.fitted.format.levels).long()]  # type: ignore[arg-type]
        return ((x + (picked - x).detach()) * scale).flatten(1)[:, : self._w.shape[1]]

    @torch.no_grad()
    def harden(self) -> Fitted:
        """What is stored: the scale in f16, codes nearest to it."""
        fmt = self.fitted.format
        assert fmt.levels is not None
        scale = stored_scale(self._base * self.stretch.exp(), "weight")
        picked = nearest_level(_divided(self._groups, scale), fmt.levels)
        values = (self._levels[picked.long()] * scale.float()[..., None] - self._groups).square().sum()
        codes = picked.flatten(1)[:, : self._w.shape[1]].contiguous()
        return Fitted(fmt, codes, scale, float(values / self._w.square().sum().clamp(min=1e-30)))


def _groups(w: Tensor, fmt: WeightFormat) -> Tensor:
    """`[N, KG, L]`, the last group filled up with zeros."""
    size = fmt.group_size or w.shape[1]
    return torch.nn.functional.pad(w, (0, -w.shape[1] % size)).reshape(len(w), -1, size)


def _divided(groups: Tensor, scale: Tensor) -> Tensor:
    wide = scale.float()[..., None]
    return torch.where(wide == 0, 0.0, groups / torch.where(wide == 0, 1.0, wide))
