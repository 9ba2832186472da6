"""Coarse-to-fine outlier preprocessing (CBQ): outlier channels shrink, outlier weights are cut off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, is_weight, op, site
from edgeq.ir.values import weight_value
from edgeq.passes.clips.outliers import reserved_maximum
from edgeq.passes.folds.calibrated import channel_range, decision_name, fold_chosen
from edgeq.passes.folds.channels import stored
from edgeq.passes.folds.fold_points import FoldPoint
from edgeq.passes.folds.folding import apply, table
from edgeq.passes.pass_ import Context, Pass, Report, Site

if TYPE_CHECKING:
    from edgeq.calibrate.stream import Captured

PER = ("row", "matrix")


@dataclass(frozen=True)
class Cfp(Pass):
    """Cut weights off at their largest one that is no outlier; divide outlier channels by `sqrt(max|X_i| / reserved)`.

    CFP of CBQ (ICLR 2025, section 3.3): quartiles give candidates, the split of largest `gap^2 - variance` gives
    outliers (`clips/outliers.py`). Channels are folded into what makes the activation, an equivalence. Cutting weights
    off is none: it changes the model, in exchange for a finer grid.

    Attributes:
        activations: shrink outlier channels. Needs samples.
        weights: cut off outlier weights. Off: without the training that CBQ does next it costs more than it gains
            (MiniLM w4a8: 1 - cosine 0.033 without the pass, 0.055 with weights cut by row, 0.058 by matrix).
        per: whose magnitudes are looked at together when weights are cut off: those of a `row` or of a `matrix`.
        kinds: of fold points (`norm+value+gated+relu`).
    """

    name: ClassVar[str] = "cfp"
    activations: bool = True
    weights: bool = False
    per: str = "row"
    kinds: str = "norm+value+gated+relu"

    def __post_init__(self) -> None:
        if self.per not in PER:
            raise UsageError(f"cfp: per={self.per} is not known; known: {', '.join(PER)}")

    @property
    def measures(self) -> bool:  # type: ignore[override]
        """Whether it needs samples."""
        return self.activations

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Weights first, then activations; run before add-cache. UsageError without weights (or samples)."""
        if context.weights is None:
            raise UsageError("the pass cfp looks for outliers in weights: it needs a model, not a graph from text")
        cut = self._cut_all(gm, context) if self.weights else []
        if not self.activations:
            return Report(str(self), tuple(cut))

        def choose(point: FoldPoint, captured: Captured) -> dict[str, Tensor]:
            return _choose(point, captured)

        report = fold_chosen(self, gm, context, self.kinds, choose)
        return Report(report.name, (*cut, *report.changed), report.declined)

    def _cut_all(self, gm: fx.GraphModule, context: Context) -> list[Site]:
        linears = [node for node in calls(gm, "aten.linear") if _own_weight(node)]
        found = [self._cut(gm, linear, context) for linear in linears]
        return [site_ for site_ in found if site_ is not None]

    def _cut(self, gm: fx.GraphModule, linear: fx.Node, context: Context) -> Site | None:
        name = decision_name(self, context)
        key = "weight: " + " ".join(sorted(str(leaf.target) for leaf in stored(arguments(linear)["weight"])))
        known = context.decisions.get(name, key)
        if known is None:
            known = cut(weight_value(arguments(linear)["weight"], context.weights), self.per)
            context.decisions.put(name, key, known)
        share = known["share"].item()
        if not share:
            return None
        limit = table(gm, known["limit"], linear, "limit")
        low = table(gm, -known["limit"], linear, "limit")
        apply(linear, "weight", "aten.minimum", limit)
        apply(linear, "weight", "aten.maximum", low)
        return Site(site(linear), f"{share:.2g} of the weights cut off at {known['limit'].max():.3g}")


def cut(weight: Tensor, per: str) -> dict[str, Tensor]:
    """`limit`, f32 `[N, 1]` or `[1]`: magnitudes beyond it are outliers; `share`: how many of all are."""
    groups = weight.abs() if per == "row" else weight.abs().reshape(1, -1)
    found = [reserved_maximum(group) for group in groups]
    limits = [group.max() if limit is None else limit for group, limit in zip(groups, found, strict=True)]
    limit = torch.stack(limits).float()
    share = (groups > limit[:, None]).float().mean()
    return {"limit": limit[:, None] if per == "row" else limit, "share": share}


def outlier_scale(magnitudes: Tensor) -> Tensor | None:
    """`sqrt(m_i / reserved)` for outliers of the magnitudes `[K]`, 1 elsewhere; None when there is no outlier."""
    reserved = reserved_maximum(magnitudes)
    if reserved is None or reserved <= 0:
        return None
    return torch.where(magnitudes > reserved, (magnitudes / reserved).sqrt(), torch.ones_like(magnitudes))


def _choose(point: FoldPoint, captured: Captured) -> dict[str, Tensor]:
    own = channel_range(point, captured)
    scale = outlier_scale(point.share(torch.maximum(own.low.abs(), own.high.abs())))
    return {} if scale is None else {"scale": scale}


def _own_weight(linear: fx.Node) -> bool:
    """A weight of a checkpoint that no embedding shares."""
    weight = arguments(linear)["weight"]
    leaves = list(stored(weight)) if is_weight(weight) else []
    return bool(leaves) and not any(op(user) == "aten.embedding" for leaf in leaves for user in leaf.users)
