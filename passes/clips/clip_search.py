"""How far weights are clipped before quantization: the limits of each group that leave least error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from edgeq.quant.ranges import minmax, signed_codes
from edgeq.quant.simulate import QuantSpec
from edgeq.quant.stored_scale import stored_scale

CHUNK = 1 << 20  # weights whose candidates are in memory at a time


@dataclass(frozen=True)
class Grid:
    """What `edgeq.quant.ranges` asks of a format."""

    bits: int
    zero_point: int | None

    @classmethod
    def of(cls, quant: QuantSpec) -> Grid:
        """Of weights."""
        return cls(quant.weight_bits, 2 ** (quant.weight_bits - 1) if quant.symmetric else None)


@dataclass(frozen=True)
class Limits:
    """Where weights f32 `[N, K]` are clipped: low and high f32 `[N, KG]`, infinite where they are not.

    before, after: squared output error over squared output, without and with the limits.
    """

    low: Tensor
    high: Tensor
    before: float
    after: float


def gram(rows: Tensor, size: int) -> Tensor:
    """Products of the columns of each group: rows f32 `[T, K]` -> `[KG, size, size]`, whose error clipping minimises.

    Half of it counts tokens as they are, half counts all alike. Where a token's activations are a thousand times the
    others' (an attention sink), the first half alone would forget the others, the second half alone the sink, on which
    all others depend.
    """
    alike = rows / rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)
    total = torch.zeros(())
    for part in (rows, alike):
        groups = pad(part, (0, -part.shape[1] % size)).reshape(len(part), -1, size).transpose(0, 1)
        total = total + groups.transpose(1, 2) @ groups / part.square().sum().clamp(min=torch.finfo(part.dtype).tiny)
    return total / 2


def find_limits(weight: Tensor, products: Tensor, quant: QuantSpec, ratios: tuple[float, ...]) -> Limits:
    """The limits, ratio x range for a ratio of each group's, of least output error; 1 must be among the ratios.

    The error of a group of weights `w - q(w)` is measured on its own columns of the input alone (AWQ, section 3.2).

    Args:
        weight: f32 `[N, K]`.
        products: `gram` of the input, `[KG, size, size]`.
        quant: how weights are quantized.
        ratios: candidates.
    """
    grid, size = Grid.of(quant), products.shape[-1]
    groups = pad(weight, (0, -weight.shape[1] % size)).reshape(len(weight), -1, size)
    step = max(1, CHUNK // (groups.shape[1] * size))
    found = [_search(part, products, grid, ratios) for part in groups.split(step)]
    low, high, power, before, after = (torch.cat(parts) for parts in zip(*found, strict=True))
    whole = power.double().sum().item() or 1.0
    return Limits(low, high, before.double().sum().item() / whole, after.double().sum().item() / whole)


def _search(groups: Tensor, products: Tensor, grid: Grid, ratios: tuple[float, ...]) -> tuple[Tensor, ...]:
    """low, high, squared output, squared error without limits and with them, `[R, KG]` each."""
    power, before = _square(groups, products), _error(groups, groups, products, grid)
    high = torch.full_like(before, torch.inf)
    low, least = -high, before
    for low_try, high_try in _candidates(groups, grid, ratios):
        clipped = torch.minimum(torch.maximum(groups, low_try[..., None]), high_try[..., None])
        error = _error(groups, clipped, products, grid)
        better = error < least
        low, high = torch.where(better, low_try, low), torch.where(better, high_try, high)
        least = torch.where(better, error, least)
    return low, high, power, before, least


def _candidates(groups: Tensor, grid: Grid, ratios: tuple[float, ...]) -> Iterator[tuple[Tensor, Tensor]]:
    """Limits (low, high), each `[R, KG]`.

    Symmetric codes below 8 bits reach one step further to one side: either side may be that one. A limit of the other
    side that is a step shorter changes no code, and makes plain which is which.
    """
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    for ratio in ratios:
        if grid.zero_point is None:
            yield low * ratio, high * ratio
        elif grid.bits >= 8:
            most = torch.maximum(-low, high) * ratio
            yield -most, most
        else:
            shorter = -(grid.zero_point - 1) / grid.zero_point * ratio
            yield low * ratio, low * shorter
            yield high * shorter, high * ratio


def _error(groups: Tensor, clipped: Tensor, products: Tensor, grid: Grid) -> Tensor:
    """`[R, KG]`: d G d of d = w - q(clipped w)."""
    scale, zero = minmax(clipped, grid)
    scale = stored_scale(scale, "weight").float()
    return _square(signed_codes(clipped, scale, zero, grid).mul_(scale[..., None]).sub_(groups), products)


def _square(d: Tensor, products: Tensor) -> Tensor:
    """`[R, KG]`: d G d."""
    d = d.transpose(0, 1)
    return ((d @ products) * d).sum(-1).T
