"""Weights as two planes of zeros and ones (DB-LLM's flexible dual binarization)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import ModelError, UsageError
from edgeq.ir.graph import arguments, calls, is_weight, site
from edgeq.ir.values import weight_value
from edgeq.passes.folds.calibrated import quant_of
from edgeq.passes.grids import put_on_grid
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.quantize import output_linears
from edgeq.passes.rounding.rounded import Rounded
from edgeq.passes.rounding.sites import why_declined
from edgeq.quant import codebooks
from edgeq.quant.format import GROUP_SIZES, WeightFormat


@dataclass(frozen=True)
class Fdb(Pass):
    """`w ~ a1 b1 + a2 b2` with b1, b2 in {0, 1}, a1 and a2 a row and group (DB-LLM, ACL 2024). A reconstruction.

    It starts from the levels -s, 0, s, 2s (`a1 = 2s`, `a2 = -s`), s of either sign and searched for least squared
    error; nearest levels and least squares follow in turns, so that it never rises. No samples are read. DB-LLM then
    distils a1 and a2 from a teacher; that is training, and not done here.

    Attributes:
        group: columns that share a1 and a2: 32, 64, 128 or 256.
        rounds: of nearest levels and least squares; 0: the start.
    """

    name: ClassVar[str] = "fdb"
    group: int = 64
    rounds: int = 10

    def __post_init__(self) -> None:
        if self.group not in GROUP_SIZES or self.rounds < 0:
            raise UsageError(f"{self}: group is one of {', '.join(map(str, GROUP_SIZES))}, rounds is not negative")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Put every linear but the output's on its grid.

        Raises UsageError without weights, ModelError for a weight that is not finite.
        """
        if context.weights is None:
            raise UsageError("the pass fdb rounds weights: it needs a model, not a graph from text")
        linears, last = [n for n in calls(gm, "aten.linear") if not is_weight(n)], output_linears(gm)
        reasons = {n: why_declined(n, quant_of(n, context), n in last) for n in linears}
        changed = [self._put(gm, n, context) for n in linears if not reasons[n]]
        return Report(str(self), tuple(changed), tuple(Site(site(n), why) for n, why in reasons.items() if why))

    def _put(self, gm: fx.GraphModule, linear: fx.Node, context: Context) -> Site:
        weight = weight_value(arguments(linear)["weight"], context.weights).float()
        if not torch.isfinite(weight).all():
            raise ModelError(f"{site(linear)}: its weight holds NaN or infinity; the checkpoint is damaged")
        found, errors = two_planes(weight, self.group, self.rounds, site(linear))
        fmt = WeightFormat.named("p2", self.group)
        put_on_grid(gm, linear, found.codes, found.scale, None, fmt)
        return Site(site(linear), f"{fmt}, squared error {errors[0]:.3g} -> {errors[1]:.3g} of the weight's")


def two_planes(weight: Tensor, size: int, rounds: int, name: str) -> tuple[Rounded, tuple[float, float]]:
    """A weight f32 `[N, K]` in groups of `size`, and its squared error before and after the rounds, relative.

    Raises UnsupportedError when a number does not fit fp16.
    """
    parts, before, after = [], 0.0, 0.0
    for groups in _groups(weight, size):
        start = codebooks.planes_start(groups)
        codes, scale, _ = codebooks.stored(groups, codebooks.refined(groups, start, rounds), name)
        before += _squared(groups - codebooks.values(codebooks.nearest(groups, start), start))
        after += _squared(groups - codebooks.values(codes, scale.reshape(*groups.shape[:2], 2).float()))
        parts.append((codes.flatten(1), scale))
    codes, scale = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    power = _squared(weight) or 1.0
    return Rounded(codes, scale, None), (before / power, after / power)


def _groups(weight: Tensor, size: int) -> Iterator[Tensor]:
    """f32 `[N, G, size]`, then a shorter last group."""
    whole = weight.shape[1] // size * size
    for start, end in ((0, whole), (whole, weight.shape[1])):
        if end > start:
            yield weight[:, start:end].reshape(len(weight), -1, min(size, end - start))


def _squared(x: Tensor) -> float:
    return float(x.double().square().sum())
