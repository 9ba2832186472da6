"""Activations without outliers: a channel's size moves from the activation into the weights that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments
from edgeq.ir.values import Reads, weight_value
from edgeq.passes.folds.calibrated import channel_range, fold_chosen, quant_of
from edgeq.passes.folds.fold_points import FoldPoint
from edgeq.passes.folds.objective import Objective, least, wanted_by
from edgeq.passes.pass_ import Context, Pass, Report

if TYPE_CHECKING:
    from edgeq.calibrate.stream import Captured

FLOOR = 1e-5  # channels that are never used keep a finite scale
ALPHAS = tuple(i / 10 for i in range(1, 10))
STRIDE = 2  # of alphas tried first


@dataclass(frozen=True)
class Smooth(Pass):
    """Divide channel j of an activation by `s_j = max|x_j|^alpha / max|W_j|^(1-alpha)`, multiply column j of W by it.

    SmoothQuant (ICML 2023, eq. 4). The division folds into what makes the activation: a norm's weight, or the rows of
    the `up` linear of a gated activation. Where a norm's result is also a residual (BERT), the linears get a norm of
    their own. int8 activations lose less, because a token's one scale no longer serves channels of very different size;
    and so do 4-bit weights, as the columns that matter most get more of their group's range (AWQ).

    Attributes:
        alpha: how much of the difficulty moves into the weights, 0..1.
        powers: scales are powers of two, so a float model's results stay the same bit for bit.
        kinds: of fold points (`norm+value+gated+relu`); after norms alone, as published. With `gated` the attention
            sink of a language model, whose products are of another size and are not counted, may grow: SmolLM2 w8a8
            diverges by 0.025 nats after norms, by 0.055 with gated products too.
        search: at each point take the alpha of 0.1, 0.2, ..., 0.9 (or no scale) of least error instead of `alpha`.
        bits: what the search simulates; empty: those of the compile.
        tokens: rows that the search measures at a point.
    """

    name: ClassVar[str] = "smooth"
    measures: ClassVar[bool] = True
    alpha: float = 0.5
    powers: bool = True
    kinds: str = "norm"
    search: bool = False
    bits: str = ""
    tokens: int = 512

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UsageError(f"smooth: alpha={self.alpha} must lie between 0 and 1")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Fold at every fold point; run before add-cache. UsageError without weights and samples."""

        def choose(point: FoldPoint, captured: Captured) -> dict[str, Tensor]:
            return self._choose(point, captured, context)

        return fold_chosen(self, gm, context, self.kinds, choose, wanted_by if self.search else None)

    def _choose(self, point: FoldPoint, captured: Captured, context: Context) -> dict[str, Tensor]:
        own = channel_range(point, captured)
        largest = torch.maximum(own.low.abs(), own.high.abs())
        columns = column_absmax(point, context.weights)
        if not self.search:
            return {"scale": self._scale(point, largest, columns, self.alpha)}
        objective = Objective(point, captured, context.weights, lambda n: quant_of(n, context, self.bits), self.tokens)
        scales = [self._scale(point, largest, columns, alpha) for alpha in ALPHAS]
        at, error = least(lambda i: objective.error(scales[i]), len(scales), STRIDE)
        summary = torch.tensor([objective.error(), error])
        return {"scale": scales[at], "errors": summary} if error < summary[0] else {"errors": summary}

    def _scale(self, point: FoldPoint, largest: Tensor, columns: Tensor, alpha: float) -> Tensor:
        scale = smooth_scale(point.share(largest), point.share(columns), alpha)
        return torch.exp2(torch.round(torch.log2(scale))) if self.powers else scale


def smooth_scale(activation: Tensor, weight: Tensor, alpha: float) -> Tensor:
    """`s_j` from the largest magnitudes `[K]` of channel j and of column j of all weights that read it."""
    return activation.clamp(min=FLOOR) ** alpha / weight.clamp(min=FLOOR) ** (1 - alpha)


def column_absmax(point: FoldPoint, weights: Reads) -> Tensor:
    """Largest magnitude of each column over all consumers' weights, f32 `[K]`."""
    columns = [weight_value(arguments(linear)["weight"], weights).abs().amax(0) for linear in point.consumers]
    return torch.stack(columns).amax(0).float()
