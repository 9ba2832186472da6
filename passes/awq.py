"""Weights that matter get finer steps: columns that meet large activations are scaled up before they are quantized."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments
from edgeq.ir.values import Reads, weight_value
from edgeq.ir.verify import is_static
from edgeq.passes.folds.calibrated import decision_name, fold_chosen, quant_of
from edgeq.passes.folds.fold_points import FoldPoint
from edgeq.passes.folds.objective import Objective, wanted_by
from edgeq.passes.pass_ import Context, Pass, Report

if TYPE_CHECKING:
    from edgeq.calibrate.samples import Sample
    from edgeq.calibrate.stream import Captured
    from edgeq.quant.simulate import QuantSpec

FLOOR = 1e-4


@dataclass(frozen=True)
class Awq(Pass):
    """Divide channel j of an activation by `s_j = mean|x_j|^alpha`, multiply column j of W by it; an alpha a point.

    AWQ (MLSys 2024, eq. 4 and 5): of alpha 0, 0.05, ... 0.95 that of least error at the output that follows, weights
    quantized as they will be stored. Query heads that share a value head share a scale. An equivalence. In a language
    model the first token counts: it is often an attention sink, and all others depend on the weights that make it one.

    Attributes:
        bits: what the search simulates; empty: those of the compile.
        step: between alphas.
        act: activations are quantized in the search as they will be at run time; false: weights alone, as published.
        duo: `s_j = mean|x_j|^alpha / mean|W_j|^(1-alpha)`, |W| relative to its group's largest (AutoAWQ).
        kinds: of fold points (`norm+value+gated+relu`).
        tokens: rows that the search measures at a point.
        all: try every alpha; false: every fourth, then those around the best.
    """

    name: ClassVar[str] = "awq"
    measures: ClassVar[bool] = True
    bits: str = ""
    step: float = 0.05
    act: bool = False
    duo: bool = False
    kinds: str = "norm+value+gated+relu"
    tokens: int = 512
    all: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.step <= 1:
            raise UsageError(f"awq: step={self.step} must lie between 0 and 1")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Fold at every fold point; run before add-cache. UsageError without weights and samples."""

        def choose(point: FoldPoint, captured: Captured) -> dict[str, Tensor]:
            return self._choose(point, captured, context)

        counted = replace(context, samples=lambda graph: every_token(graph, context.samples(graph)))
        return fold_chosen(self, gm, counted, self.kinds, choose, wanted_by, lambda point: self._note(point, context))

    def _note(self, point: FoldPoint, context: Context) -> str:
        decision = context.decisions.get(decision_name(self, context), point.key) or {}
        return f"alpha {decision['alpha'].item():.3g}"

    def _choose(self, point: FoldPoint, captured: Captured, context: Context) -> dict[str, Tensor]:
        quants = {linear: self._quant(linear, context) for linear in point.consumers}
        objective = Objective(point, captured, context.weights, quants.__getitem__, self.tokens)
        mean = point.share(torch.cat(captured.rows(point.activation)).float().abs().mean(0), "mean")
        groups = {linear: quant.group_size for linear, quant in quants.items()}
        columns = point.share(column_means(point, context.weights, groups), "mean") if self.duo else None
        known: dict[int, tuple[float, Tensor | None]] = {-1: (objective.error(), None)}

        def measure(index: int) -> float:
            if index not in known:
                scale = awq_scale(mean, index * self.step, columns)
                known[index] = (objective.error(scale), scale)
            return known[index][0]

        self._search(measure)
        index = min(known, key=lambda i: (known[i][0], i))
        error, scale = known[index]
        found = {"errors": torch.tensor([known[-1][0], error]), "alpha": torch.tensor(max(index, 0) * self.step)}
        return found if scale is None else {**found, "scale": scale}

    def _quant(self, linear: fx.Node, context: Context) -> QuantSpec:
        quant = quant_of(linear, context, self.bits)
        return quant if self.act else replace(quant, act="none")

    def _search(self, measure: Callable[[int], float]) -> None:
        """Measure indices of alpha: all, or every fourth, then two and one beside the best so far."""
        indices = range(0 if self.duo else 1, round(1 / self.step))
        if self.all:
            for index in indices:
                measure(index)
            return
        center = min(indices[::4], key=measure, default=0)
        for stride in (2, 1):
            near = [i for i in (center, center - stride, center + stride) if i in indices]
            center = min(near, key=measure, default=0)


def every_token(gm: fx.GraphModule, samples: list[Sample]) -> list[Sample]:
    """The samples with all tokens of a language model counted, the first too; encoders' padding stays left out."""
    return samples if is_static(gm) else [replace(s, counted=torch.ones_like(s.counted)) for s in samples]


def awq_scale(mean: Tensor, alpha: float, columns: Tensor | None = None) -> Tensor:
    """Scale f32 `[K]` from `mean` |x|, f32 `[K]`; the largest times the smallest is 1.

    columns: mean |W| of each column, f32 `[K]`, divides by it to the power 1 - alpha.
    """
    scale = mean**alpha
    if columns is not None:
        scale = scale / (columns ** (1 - alpha) + FLOOR)
    scale = scale.clamp(min=FLOOR)
    return scale / (scale.max() * scale.min()).sqrt()


def column_means(point: FoldPoint, weights: Reads, groups: Mapping[fx.Node, int] | None = None) -> Tensor:
    """f32 `[K]`: mean over rows of all consumers of |W|, each relative to the largest of its group in its row.

    groups: weights of a group of each consumer, 0 (and left out): a row.
    """
    total, rows = torch.zeros(()), 0
    for linear in point.consumers:
        w = weight_value(arguments(linear)["weight"], weights).float().abs()
        parts = w.split((groups or {}).get(linear, 0) or w.shape[1], dim=1)
        largest = [part.amax(1, keepdim=True).clamp(min=torch.finfo(w.dtype).tiny) for part in parts]
        total = total + torch.cat([p / m for p, m in zip(parts, largest, strict=True)], 1).sum(0)
        rows += len(w)
    return total / rows
