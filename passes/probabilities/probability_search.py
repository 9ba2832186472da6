"""The grid of an attention's probabilities that changes its output least."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgeq.ir.ops.attention import probabilities, split_heads
from edgeq.ir.ops.coded import on_grid

_GOLDEN = 0.6180339887498949
_ARGUMENTS = ("pad", "bias", "sinks", "row_bias", "column_bias", "distance_bias")
_OPTIONS = ("heads", "kv_heads", "scale", "causal", "left", "right", "softcap")


@dataclass(frozen=True)
class Seen:
    """Probabilities `[B,H,rows,L]` of some queries of a sample, and its values `[B,H,L,Dv]`."""

    p: Tensor
    v: Tensor

    @classmethod
    def of(cls, given: dict[str, Any], rows: int) -> Seen:
        """From an attention's arguments; at most `rows` queries, evenly spaced."""
        options = {name: given[name] for name in _OPTIONS}
        p = probabilities(given["q"], given["k"], *(given[name] for name in _ARGUMENTS), **options)
        count = p.shape[2]
        chosen = torch.linspace(0, count - 1, min(rows, count)).round().long()
        v = split_heads(given["v"], given["kv_heads"]).repeat_interleave(given["heads"] // given["kv_heads"], 1)
        return cls(p[:, :, chosen], v)

    def error(self, grid: str, s: float) -> float:
        """Squared error of the output, relative to the output."""
        changed = on_grid(self.p, grid, torch.tensor(s)) - self.p
        return float((changed @ self.v).square().sum() / (self.p @ self.v).square().sum().clamp(min=1e-30))


def choose(grids: list[str], seen: list[Seen], steps: int) -> dict[str, Tensor]:
    """`grid`: number of the best; `s` f32 `[1]`: the mean over samples of its best; `errors` f32: of every grid."""
    found = [[search(one, grid, steps) for one in seen] for grid in grids]
    errors = torch.tensor([sum(error for _, error in of_grid) / len(seen) for of_grid in found])
    best = int(errors.argmin())
    s = sum(s for s, _ in found[best]) / len(seen)
    return {"grid": torch.tensor(best), "s": torch.tensor([s]), "errors": errors.sqrt()}


def search(seen: Seen, grid: str, steps: int) -> tuple[float, float]:
    """The best s from about a hundredth of the largest probability up to it, and its squared error."""
    high = float(seen.p.max())
    return bounded(lambda s: seen.error(grid, s), min(0.1, 0.01 * high), high, steps)


def bounded(function: Callable[[float], float], low: float, high: float, steps: int) -> tuple[float, float]:
    """Argument and value of the least of `steps` values of a function: golden sections, and the upper end."""
    low = min(low, high)
    ends = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [function(x) for x in ends]
    best = min(zip((*ends, high), (*values, function(high)), strict=True), key=lambda pair: pair[1])
    for _ in range(steps - 3):
        if values[0] <= values[1]:
            high, ends, values = ends[1], [ends[1] - _GOLDEN * (ends[1] - low), ends[0]], [0.0, values[0]]
            new = 0
        else:
            low, ends, values = ends[0], [ends[1], ends[0] + _GOLDEN * (high - ends[0])], [values[1], 0.0]
            new = 1
        values[new] = function(ends[new])
        best = min(best, (ends[new], values[new]), key=lambda pair: pair[1])
    return best
