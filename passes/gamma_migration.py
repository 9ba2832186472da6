"""Norms without a gain: gamma moves into the linears that read the norm, and so do the outliers that it makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, insert, op, remove_unused, replace, site
from edgeq.ir.values import Reads, weight_value
from edgeq.ir.verify import is_static
from edgeq.passes.folds.channels import stored
from edgeq.passes.folds.fold_points import NORMS, FoldPoint, fold_points
from edgeq.passes.folds.folding import fold, part_norms, table
from edgeq.passes.pass_ import Context, Pass, Report, Site

NEAR_ZERO = 1e-3  # of the largest |gamma|: below it beta / gamma would be an outlier of our own making
SHORTCUTS = ("part", "multiply")


@dataclass(frozen=True)
class GammaMigration(Pass):
    """`LN(x) = gamma * x'`: the norm keeps `x' = (x - mean) / std + beta / gamma`, linears get `W * gamma`. Exact.

    Outlier Suppression (NeurIPS 2022, section 4.1): gamma amplifies the same few channels in every token. An
    equivalence that reads weights and needs no calibration; eps and mean stay as they are. On channels whose gamma is
    near zero it stays in the norm.

    Where a post-LN output is also a residual, the shortcut still carries `gamma * x'`. `part` computes it by a norm of
    its own from the same input, which is fused into what reads it, and divides by no gamma; `multiply` is the paper's
    form, an explicit product of the shared norm, for static graphs.

    Attributes:
        shortcut: part or multiply.
    """

    name: ClassVar[str] = "gamma-migration"
    shortcut: str = "part"

    def __post_init__(self) -> None:
        if self.shortcut not in SHORTCUTS:
            raise UsageError(f"gamma-migration: shortcut={self.shortcut} is unknown; known: {', '.join(SHORTCUTS)}")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Migrate at every norm that linears alone read, or that can be parted so; UsageError without weights."""
        if context.weights is None:
            raise UsageError("the pass gamma-migration reads norm weights: it needs a model's weights")
        part_norms(gm)
        points, refused = fold_points(gm, ("norm",))
        norms = {site(node) for node in calls(gm, *NORMS)}
        declined = [one for one in refused if one.module in norms]
        changed: list[Site] = []
        for point in points:
            reason = _why_not(gm, point.producer) or self._why_no_product(gm, point.producer)
            if reason:
                declined.append(Site(point.module, reason))
            else:
                changed.append(self._migrate(gm, point, context.weights))
        remove_unused(gm)
        return Report(str(self), tuple(changed), (*declined, *_untouched(gm, changed + declined)))

    def _why_no_product(self, gm: fx.GraphModule, norm: fx.Node) -> str:
        if self.shortcut == "part" or is_static(gm) or not _same(gm, norm):
            return ""
        return "products with a vector are not in the dialect of token graphs: use shortcut=part"

    def _migrate(self, gm: fx.GraphModule, point: FoldPoint, weights: Reads) -> Site:
        norm = point.producer
        gamma = _gamma(norm, weights)
        scale = migrated(gamma)
        shortcuts = _same(gm, norm)
        fold(gm, point, scale)
        if self.shortcut == "multiply":
            for other in shortcuts:
                _multiply(gm, norm, other, scale)
        kept = int((scale != gamma).sum())
        words = f"gamma {gamma.min():g}..{gamma.max():g} into {len(point.consumers)} linears"
        return Site(point.module, words + (f", {kept} near zero kept" if kept else ""))


def migrated(gamma: Tensor) -> Tensor:
    """The part of gamma `[C]` that moves: 1 on channels with `|gamma|` up to `NEAR_ZERO` of the largest."""
    size = gamma.abs()
    return torch.where(size <= NEAR_ZERO * size.max(), torch.ones_like(gamma), gamma)


def _gamma(norm: fx.Node, weights: Reads) -> Tensor:
    given = arguments(norm)
    return weight_value(given.get("weight", given.get("w")), weights).float() + given.get("offset", 0.0)


def _why_not(gm: fx.GraphModule, norm: fx.Node) -> str:
    given = arguments(norm)
    weight = given.get("weight", given.get("w"))
    if weight is None:
        return "it has no gamma"
    names = {leaf.target for leaf in stored(weight)}
    others = [node for node in gm.graph.nodes if node is not norm and names & _named(node)]
    if any(not _normalises_the_same(node, norm) for node in others):
        return "its gamma is shared with another layer"
    return ""


def _named(node: fx.Node) -> set[object]:
    """The stored tensors that a call over activations reads as its norm weight or its embedding."""
    if op(node) not in (*NORMS, "aten.embedding"):
        return set()
    given = arguments(node)
    weight = given.get("weight", given.get("w"))
    return set() if weight is None else {leaf.target for leaf in stored(weight)}


def _normalises_the_same(node: fx.Node, norm: fx.Node) -> bool:
    return op(node) == op(norm) and node.args[0] is norm.args[0]


def _same(gm: fx.GraphModule, norm: fx.Node) -> list[fx.Node]:
    """Other norms that compute what this one does: those that `part_norms` left to residuals and outputs."""
    return [
        node for node in calls(gm, op(norm))
        if node is not norm and node.args == norm.args and node.kwargs == norm.kwargs
    ]  # fmt: skip


def _multiply(gm: fx.GraphModule, norm: fx.Node, shortcut: fx.Node, scale: Tensor) -> None:
    """The shortcut becomes a product of the folded norm."""
    held = table(gm, scale, norm)
    with gm.graph.inserting_after(norm):
        product = insert(gm.graph, "aten.mul.Tensor", norm, held, like=shortcut)
    replace(shortcut, product)


def _untouched(gm: fx.GraphModule, listed: list[Site]) -> Iterator[Site]:
    """Norms that nothing was said about: the last of a stack, those of heads."""
    said = {one.module for one in listed}
    for node in calls(gm, *NORMS):
        if site(node) not in said:
            said.add(site(node))
            heads = arguments(node).get("heads", 1) != 1
            yield Site(site(node), "it normalises heads" if heads else "no linear alone reads it")
