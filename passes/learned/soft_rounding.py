"""Up or down for each weight, soft while it is learned (AdaRound, ICML 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.passes.learned.rounding import LearnedRounding
from edgeq.passes.rounding.gptq_columns import Rounded
from edgeq.quant.simulate import QuantSpec

ZETA, GAMMA = 1.1, -0.1  # how far the stretched sigmoid reaches (eq. 23)


class SoftRounding(LearnedRounding):
    """`code = clip(floor(w / s0) + h(V0 + V))`, h a stretched sigmoid, from 0 (down) to 1 (up).

    `V0 = -ln((zeta - gamma) / (frac(w / s0) - gamma) - 1)` makes `h(V0)` the fraction that rounding drops: at the start
    the soft weight is the float weight where nothing is clipped. Stored are the codes of h >= 1/2.
    """

    def __init__(
        self, weight: Tensor, quant: QuantSpec, rank: int, generator: torch.Generator, name: str = "weight",
        begin: Rounded | None = None,
    ) -> None:  # fmt: skip
        super().__init__(weight, quant, rank, generator, name, begin)
        inside = self._clip(self._steps)
        self._floor = torch.floor(inside)
        self._start = -torch.log((ZETA - GAMMA) / (inside - self._floor - GAMMA) - 1)

    def weight(self) -> Tensor:
        """Soft."""
        return self._flat(self._clip(self._floor + self.raised()) * self._stretched())

    def signed(self) -> Tensor:
        """Decided."""
        return self._clip(self._floor + (self.raised() >= 0.5).float())

    def pull(self, beta: float) -> Tensor:
        """`mean(1 - |2h - 1|^beta)`: 0 when every weight is decided (eq. 24)."""
        return (1 - (2 * self.raised() - 1).abs() ** beta).mean()

    def raised(self) -> Tensor:
        """h `[N, KG, L]`."""
        return (torch.sigmoid(self._start + self._moved()) * (ZETA - GAMMA) + GAMMA).clamp(0, 1)

    def _clip(self, codes: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(codes, self._low), self._high)
