"""What passes have in common that round linears one after the other by the second moments of what they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, fx

from edgeq.errors import ModelError, UsageError
from edgeq.ir.graph import arguments, calls, is_weight, op, site
from edgeq.ir.values import weight_value
from edgeq.passes.awq import every_token
from edgeq.passes.folds.calibrated import decision_name, quant_of
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.quantize import output_linears
from edgeq.passes.rounding.gptq_decision import Decision
from edgeq.passes.rounding.hessian import Hessian, hessian
from edgeq.passes.rounding.sequential import Sequential
from edgeq.passes.rounding.sites import decision_key, undecided, why_declined
from edgeq.quant.simulate import QuantSpec


class Common(NamedTuple):
    """Options of every such pass, as `gptq` describes them."""

    bits: str
    damp: float
    sequential: bool
    even: bool


@dataclass(frozen=True)
class RoundingPass(Pass):
    """Samples go through the model; before a linear runs, `round` decides its weight, and it runs with that.

    Of linears that share a weight the first one decides. Subclasses say how a weight is rounded (`round`), what the
    decision stands for (`values`) and how it gets into the graph (`put`).
    """

    def common(self) -> Common:
        """Format, damping, order and weighing of tokens."""
        raise NotImplementedError

    def round(
        self, weights: Sequence[Tensor], names: Sequence[str], moments: Hessian, quant: QuantSpec
    ) -> list[Decision]:  # fmt: skip
        """Decisions for weights f32 `[N, K]` of one input and one format; `names` are what errors call them."""
        raise NotImplementedError

    def values(self, decision: Decision, quant: QuantSpec) -> Tensor | None:
        """The weight that a decision stands for, f32 `[N, K]`; None where there is none."""
        raise NotImplementedError

    def put(self, gm: fx.GraphModule, linear: fx.Node, decision: Decision, quant: QuantSpec) -> tuple[str, str]:
        """Rewrite a linear: (what was done, "") or ("", why not)."""
        raise NotImplementedError

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Round what is not decided yet, then put all on their grids; before add-cache.

        Raises:
            UsageError: no weights, no samples where something must be measured; caches; a format that is not known.
            ModelError: an activation or a weight is not finite.
        """
        self._check(gm, context)
        linears, last = [n for n in calls(gm, "aten.linear") if not is_weight(n)], output_linears(gm)
        quants = {linear: quant_of(linear, context, self.common().bits) for linear in linears}
        reasons = {linear: why_declined(linear, quant, linear in last) for linear, quant in quants.items()}
        quants = {linear: quant for linear, quant in quants.items() if not reasons[linear]}
        self.decide(gm, quants, context)
        done = {linear: self._put(gm, linear, quant, context) for linear, quant in quants.items()}
        reasons |= {linear: why for linear, (_, why) in done.items()}
        changed = [Site(site(linear), what) for linear, (what, _) in done.items() if what]
        return Report(str(self), tuple(changed), tuple(Site(site(n), why) for n, why in reasons.items() if why))

    def decide(self, gm: fx.GraphModule, quants: dict[fx.Node, QuantSpec], context: Context) -> None:
        """Round what is not decided yet, without rewriting the graph; errors as `run`."""
        name = decision_name(self, context)
        missing = list(undecided(quants, lambda key: context.decisions.get(name, key) is not None, decision_key))
        if missing:
            self._measure(gm, quants, missing, context)

    def _check(self, gm: fx.GraphModule, context: Context) -> None:
        if context.weights is None:
            raise UsageError(f"the pass {self.name} rounds weights: it needs a model, not a graph from text")
        if calls(gm, "edgeq.cached_attention"):
            raise UsageError(f"the pass {self.name} runs the graph on samples: put it before add-cache")

    def _measure(
        self, gm: fx.GraphModule, quants: dict[fx.Node, QuantSpec], missing: list[fx.Node], context: Context
    ) -> None:
        samples = context.samples(gm)
        if not samples:
            raise UsageError(f"the pass {self.name} measures activations: this graph has no samples (see --calib)")

        def decide(linears: list[fx.Node], rows: list[Tensor]) -> None:
            self._decide(linears, rows, quants, context)

        def known(linear: fx.Node) -> Tensor | None:
            return self._known(linear, quants[linear], context)

        walk = Sequential(
            gm, context.weights, every_token(gm, samples), quants, missing, decide, known, self.common().sequential
        )
        walk.run(self.name, context.progress, context.decisions)

    def _decide(
        self, linears: list[fx.Node], rows: list[Tensor], quants: dict[fx.Node, QuantSpec], context: Context
    ) -> None:
        """Decide for linears that read one activation; those of one format are rounded as one weight."""
        for quant in dict.fromkeys(quants[linear] for linear in linears):
            alike = [linear for linear in linears if quants[linear] == quant]
            weights = [weight_value(arguments(linear)["weight"], context.weights).float() for linear in alike]
            _check_finite(alike, weights, rows)
            moments = hessian(_as_read(alike[0], rows, quant), self.common().even)
            found = self.round(weights, list(map(site, alike)), moments, quant)
            for linear, decision in zip(alike, found, strict=True):
                context.decisions.put(decision_name(self, context), decision_key(linear, quant), decision)

    def _known(self, linear: fx.Node, quant: QuantSpec, context: Context) -> Tensor | None:
        """A decided linear's weight as stored; rounded to nearest where nothing else could be decided."""
        decision = context.decisions.get(decision_name(self, context), decision_key(linear, quant))
        if decision is None:
            return None
        found = self.values(decision, quant)
        if found is not None:
            return found
        return quant.weight(weight_value(arguments(linear)["weight"], context.weights).float())

    def _put(self, gm: fx.GraphModule, linear: fx.Node, quant: QuantSpec, context: Context) -> tuple[str, str]:
        """Put a linear on its grid: (what was done, "") or ("", why not)."""
        decision = context.decisions.get(decision_name(self, context), decision_key(linear, quant))
        assert decision is not None, "a linear reads an activation, an input or a weight: all are shown"
        return self.put(gm, linear, decision, quant)


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
