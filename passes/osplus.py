"""Outlier Suppression+: channels are centred and the largest of them shrunk, as far as the outputs that follow gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.ir.graph import op
from edgeq.passes.folds.calibrated import channel_range, fold_chosen, quant_of
from edgeq.passes.folds.fold_points import FoldPoint
from edgeq.passes.folds.objective import Objective, least, wanted_by
from edgeq.passes.pass_ import Context, Pass, Range, Report
from edgeq.passes.smooth import column_absmax
from edgeq.quant.stored_scale import FP16_MAX

if TYPE_CHECKING:
    from edgeq.calibrate.stream import Captured

TENTH = 0.1  # of the channels are left alone at the end of the grid
FLOOR = 1e-8  # of a threshold


@dataclass(frozen=True)
class Osplus(Pass):
    """`X' = (X - z) / s`: z the middle of each channel, s shrinks channels beyond a threshold t to it.

    Outlier Suppression+ (EMNLP 2023). `z_j = (max_j + min_j) / 2`; on what is shifted, `s_j = max(1, max_j / t,
    min_j / -t)`. t comes from a grid: the one of least squared error of the output that follows (`Objective`), its
    weights' quantization included, the model without any change among the candidates. The published grid has 100
    steps or more of equal width; here `steps` thresholds have equal ratios, which reaches as far with fewer.

    Attributes:
        shift: centre channels where the point allows it.
        scale: shrink channels.
        rms_shift: centre after RMS norms too: costs an addition at run time.
        kinds: of fold points (`norm+value+gated+relu`).
        lower: the grid's last threshold (published: 1 for OPT, 0.1 for LLaMA); 0: the size of the channel that is
            larger than a tenth of them.
        steps: thresholds in the grid.
        stride: every so many are tried first, then those around the best; 1 tries all.
        bits: what the search simulates; empty: those of the compile.
        tokens: rows that the search measures at a point.
    """

    name: ClassVar[str] = "osplus"
    measures: ClassVar[bool] = True
    shift: bool = True
    scale: bool = True
    rms_shift: bool = False
    kinds: str = "norm+value+gated+relu"
    lower: float = 0.0
    steps: int = 20
    stride: int = 4
    bits: str = ""
    tokens: int = 512

    def __post_init__(self) -> None:
        if self.lower < 0 or self.steps < 2 or min(self.stride, self.tokens) < 1:
            raise UsageError(f"{self}: lower must not be negative, steps be 2 or more, stride and tokens 1 or more")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Fold at every fold point; run before add-cache. UsageError without weights and samples."""

        def choose(point: FoldPoint, captured: Captured) -> dict[str, Tensor]:
            return self._choose(point, captured, context)

        return fold_chosen(self, gm, context, self.kinds, choose, wanted_by, self._note)

    def _note(self, point: FoldPoint) -> str:
        reason = self.why_no_shift(point) if self.shift else ""
        return f"not shifted: {reason}" if reason else ""

    def _choose(self, point: FoldPoint, captured: Captured, context: Context) -> dict[str, Tensor]:
        own = channel_range(point, captured)
        own = Range(point.share(own.low, "min"), point.share(own.high, "max"))
        z = (own.low + own.high) / 2 if self.shift and not self.why_no_shift(point) else None
        columns = point.share(column_absmax(point, context.weights))
        objective = Objective(point, captured, context.weights, lambda n: quant_of(n, context, self.bits), self.tokens)
        scales = [s for s in self._scales(own, z) if s is None or fits(columns, s)]
        at, error = least(lambda i: objective.error(scales[i], z), len(scales), self.stride)
        unchanged = objective.error()
        found = {"scale": scales[at], "shift": z} if error < unchanged else {}
        kept = {name: t for name, t in found.items() if t is not None}
        return {**kept, "errors": torch.tensor([unchanged, min(error, unchanged)])}

    def why_no_shift(self, point: FoldPoint) -> str:
        """Why the channels of a point are not centred, "" when they are."""
        if op(point.producer) == "edgeq.rms_norm" and not self.rms_shift:
            return "RMSNorm has no bias (rms_shift gives it one)"
        return point.no_shift

    def _scales(self, own: Range, z: Tensor | None) -> list[Tensor | None]:
        size = extent(own, z)
        if not self.scale:
            return [None]
        return [threshold_scale(own, z, t) for t in thresholds(size, self.lower, self.steps)]


def extent(own: Range, z: Tensor | None) -> Tensor:
    """Largest magnitude of each channel after the shift."""
    middle = 0 if z is None else z
    return torch.maximum(own.high - middle, middle - own.low)


def threshold_scale(own: Range, z: Tensor | None, t: float) -> Tensor:
    """`s_j = max(1, max_j / t, min_j / -t)` on shifted channels: those beyond t shrink to it, none grows."""
    return (extent(own, z) / t).clamp(min=1)


def thresholds(size: Tensor, lower: float, steps: int) -> list[float]:
    """From the largest channel (where every scale is 1) down to `lower`, each the same ratio of the one before."""
    top = max(size.max().item(), FLOOR)
    end = lower or torch.quantile(size, TENTH).item()
    end = min(max(end, FLOOR), top)
    return [top * (end / top) ** (i / (steps - 1)) for i in range(steps)]


def fits(columns: Tensor, scale: Tensor) -> bool:
    """Whether the scaled weights can still be stored in fp16."""
    return bool((columns * scale).max() < FP16_MAX)
