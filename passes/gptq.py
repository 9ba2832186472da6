"""Weights rounded one column after the other, the later ones making up for what the earlier ones lose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import ModelError, UsageError
from edgeq.ir.graph import arguments, calls, is_weight, op, site
from edgeq.ir.values import weight_value
from edgeq.passes.awq import every_token
from edgeq.passes.folds.calibrated import decision_name, quant_of
from edgeq.passes.grids import put_on_grid
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.quantize import output_linears
from edgeq.passes.rounding.gptq_columns import Rounded
from edgeq.passes.rounding.gptq_decision import Settings, decide, describe, rounded_of, why_not
from edgeq.passes.rounding.group_ranges import METHODS
from edgeq.passes.rounding.hessian import hessian
from edgeq.passes.rounding.sequential import Sequential
from edgeq.passes.rounding.sites import decision_key, format_of, why_declined
from edgeq.quant.simulate import QuantSpec


@dataclass(frozen=True)
class Gptq(Pass):
    """Codes, scales and zero points of every linear but the output's, as they will be stored. A reconstruction.

    GPTQ (ICLR 2023): columns are rounded one by one, and the error of each is spread over those not yet rounded as
    the second moments `H = E[x x^T]` of the linear's input say. The input is that of the model quantized so far,
    activations included. Where H is a multiple of the identity this is rounding to nearest. In a language model every
    token counts, the first (an attention sink) too; in an encoder those that are not padding.

    A column is rounded to the nearest of what its group can stand for, in any format: whole numbers, signs, a table of
    levels, floats of 8 bits, two planes. Of linears that share a weight the first one decides.

    Attributes:
        bits: what weights will be quantized to; empty: those of the compile, each linear its own.
        damp: added to H's diagonal, relative to its mean; ten times as much, at most four times, where H is singular.
        act_order: columns of large inputs first; groups then keep the ranges of the weight as it was. False: columns as
            they are, a group's range found when its first column comes.
        block: columns between two products that spread errors; changes no result.
        sequential: within a block of the model too, later linears see what the ones before them lose.
        range: how a group's range is found: `minmax`, `mse`, or `weighted`: least squared error, columns counted as
            GPTQ's loss counts them.
        even: half of H counts tokens as they are, half all alike; False: the published H.
    """

    name: ClassVar[str] = "gptq"
    measures: ClassVar[bool] = True
    bits: str = ""
    damp: float = 0.01
    act_order: bool = True
    block: int = 128
    sequential: bool = True
    range: str = "minmax"
    even: bool = False

    def __post_init__(self) -> None:
        if self.range not in METHODS:
            raise UsageError(f"gptq: range={self.range} is not known; known: {', '.join(METHODS)}")
        if not 0 < self.damp < 1 or self.block < 1:
            raise UsageError(f"{self}: damp lies between 0 and 1, block is positive")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Round what is not decided yet, then put all on their grids; before add-cache.

        Raises:
            UsageError: no weights, no samples where something must be measured; caches; a format that is not known.
            ModelError: an activation or a weight is not finite.
        """
        self._check(gm, context)
        linears, last = [n for n in calls(gm, "aten.linear") if not is_weight(n)], output_linears(gm)
        quants = {linear: quant_of(linear, context, self.bits) for linear in linears}
        reasons = {linear: why_declined(linear, quant, linear in last) for linear, quant in quants.items()}
        quants = {linear: quant for linear, quant in quants.items() if not reasons[linear]}
        self.decide(gm, quants, context)
        done = {linear: self._put(gm, linear, quant, context) for linear, quant in quants.items()}
        reasons |= {linear: why for linear, (_, why) in done.items()}
        changed = [Site(site(linear), what) for linear, (what, _) in done.items() if what]
        return Report(str(self), tuple(changed), tuple(Site(site(n), why) for n, why in reasons.items() if why))

    def decide(self, gm: fx.GraphModule, quants: dict[fx.Node, QuantSpec], context: Context) -> None:
        """Round what is not decided yet, without rewriting the graph; errors as `run`."""
        missing = list(self._missing(quants, context))
        if missing:
            self._measure(gm, quants, missing, context)

    def decided(self, linear: fx.Node, quant: QuantSpec, context: Context) -> Rounded | None:
        """A linear's weight as it was decided; None where it is left to be rounded to nearest, or nothing was."""
        decision = context.decisions.get(decision_name(self, context), decision_key(linear, quant))
        return None if decision is None else rounded_of(decision)

    def _check(self, gm: fx.GraphModule, context: Context) -> None:
        if context.weights is None:
            raise UsageError("the pass gptq rounds weights: it needs a model, not a graph from text")
        if calls(gm, "edgeq.cached_attention"):
            raise UsageError("the pass gptq runs the graph on samples: put it before add-cache")

    def _missing(self, quants: dict[fx.Node, QuantSpec], context: Context) -> Iterator[fx.Node]:
        """Linears without a decision, one a weight and format."""
        seen: set[str] = set()
        for linear, quant in quants.items():
            key = decision_key(linear, quant)
            if key not in seen and context.decisions.get(decision_name(self, context), key) is None:
                yield linear
            seen.add(key)

    def _measure(
        self, gm: fx.GraphModule, quants: dict[fx.Node, QuantSpec], missing: list[fx.Node], context: Context
    ) -> None:
        samples = context.samples(gm)
        if not samples:
            raise UsageError("the pass gptq measures activations: this graph has no samples (see --calib)")

        def decide(linears: list[fx.Node], rows: list[Tensor]) -> None:
            self._decide(linears, rows, quants, context)

        def known(linear: fx.Node) -> Tensor | None:
            return self._known(linear, quants[linear], context)

        walk = Sequential(
            gm, context.weights, every_token(gm, samples), quants, missing, decide, known, self.sequential
        )
        walk.run(self.name, context.progress, context.decisions)

    def _decide(
        self, linears: list[fx.Node], rows: list[Tensor], quants: dict[fx.Node, QuantSpec], context: Context
    ) -> None:
        """Decide for linears that read one activation; those of one format are rounded as one weight."""
        settings = Settings(self.damp, self.act_order, self.block, self.range)
        for quant in dict.fromkeys(quants[linear] for linear in linears):
            alike = [linear for linear in linears if quants[linear] == quant]
            weights = [weight_value(arguments(linear)["weight"], context.weights).float() for linear in alike]
            _check_finite(alike, weights, rows)
            moments = hessian(_as_read(alike[0], rows, quant), self.even)
            found = decide(weights, list(map(site, alike)), moments, quant, settings)
            for linear, decision in zip(alike, found, strict=True):
                context.decisions.put(decision_name(self, context), decision_key(linear, quant), decision)

    def _known(self, linear: fx.Node, quant: QuantSpec, context: Context) -> Tensor | None:
        """A decided linear's weight as stored; rounded to nearest where nothing else could be decided."""
        decision = context.decisions.get(decision_name(self, context), decision_key(linear, quant))
        if decision is None:
            return None
        found = rounded_of(decision)
        if found is not None:
            return found.values(quant)
        return quant.weight(weight_value(arguments(linear)["weight"], context.weights).float())

    def _put(self, gm: fx.GraphModule, linear: fx.Node, quant: QuantSpec, context: Context) -> tuple[str, str]:
        """Put a linear on its grid: (what was done, "") or ("", why not)."""
        decision = context.decisions.get(decision_name(self, context), decision_key(linear, quant))
        assert decision is not None, "a linear reads an activation, an input or a weight: all are shown"
        found = rounded_of(decision)
        if found is None:
            return "", why_not(decision, self.damp)
        put_on_grid(gm, linear, found.codes, found.scale, found.zero, format_of(quant))
        return f"{format_of(quant)}, {describe(decision, self.damp)}", ""


def _as_read(linear: fx.Node, rows: list[Tensor], quant: QuantSpec) -> list[Tensor]:
    """Activations as the quantized linear reads them; those with a static range are on their grid already."""
    ranged = op(arguments(linear)["input"]) == "edgeq.fake_quant"
    return rows if ranged else [quant.activation(part) if len(part) else part for part in rows]


def _check_finite(linears: list[fx.Node], weights: list[Tensor], rows: list[Tensor]) -> None:
    for linear, weight in zip(linears, weights, strict=True):
        if not torch.isfinite(weight).all():
            raise ModelError(f"{site(linear)}: its weight holds NaN or infinity; the checkpoint is damaged")
    bad = [index for index, part in enumerate(rows) if not torch.isfinite(part).all()]
    if bad:
        raise ModelError(
            f"{', '.join(map(site, linears))}: its input holds NaN or infinity on calibration samples "
            f"{', '.join(map(str, bad))}; the model overflows on them: calibrate on other text (--calib)"
        )
