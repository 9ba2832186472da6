"""What passes share that learn rounding and steps from samples: CBQ, QDrop, fine clipping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, fx

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, is_weight, site
from edgeq.ir.values import weight_value
from edgeq.passes.awq import every_token
from edgeq.passes.folds.calibrated import decision_name, quant_of
from edgeq.passes.folds.folding import replace_argument, table
from edgeq.passes.gptq import Gptq
from edgeq.passes.grids import holds_grid, put_on_grid
from edgeq.passes.learned.end_to_end import tune
from edgeq.passes.learned.learner import range_key
from edgeq.passes.learned.settings import Settings
from edgeq.passes.learned.sweep import Learned, Slide, Sweep
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.quantize import output_linears
from edgeq.passes.rounding.gptq_columns import Rounded
from edgeq.passes.rounding.sites import decision_key, why_declined
from edgeq.quant.ranges import RANGES
from edgeq.quant.simulate import QuantSpec

DEVICES = ("auto", "cpu", "cuda")
TUNED = "end to end"  # the decision that says that it was done


@dataclass(frozen=True)
class Reconstruction(Pass):
    """A model's layers are made to compute, quantized, what they computed in float. A reconstruction.

    Subclasses say `settings()` and `slide()`. Every token of a language model counts, in an encoder those that are not
    padding.

    Attributes:
        bits: what is simulated; empty: those of the compile, each linear its own.
        range: how a group's first scale is found: `minmax` or `mse`.
        device: `auto` is a GPU where there is one. Results differ in their last bits from one to another.
        seed: of all that is drawn.
    """

    measures: ClassVar[bool] = True
    bits: str = ""
    range: str = "mse"
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.range not in RANGES:
            raise UsageError(f"{self.name}: range={self.range} is not known; known: {', '.join(RANGES)}")
        if self.device not in DEVICES:
            raise UsageError(f"{self.name}: device={self.device} is not known; known: {', '.join(DEVICES)}")
        self.settings()
        self.slide()
        self.first()

    def settings(self) -> Settings:
        """How a window learns."""
        raise NotImplementedError

    def slide(self) -> Slide:
        """How windows follow each other."""
        raise NotImplementedError

    def first(self) -> Gptq | None:
        """What decides the rounding that learning starts from; None: to nearest."""
        return None

    def end_to_end(self) -> Settings | None:
        """How the whole model learns after its windows; None: it does not."""
        return None

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Learn what is not decided yet, then rewrite; before add-cache.

        Raises:
            UsageError: no weights, no samples where something must be learned; caches; nothing to learn.
            ModelError: an error that is not finite.
        """
        self._check(gm, context)
        linears, last = [n for n in calls(gm, "aten.linear") if not is_weight(n)], output_linears(gm)
        quants = {n: replace(quant_of(n, context, self.bits), method=self.range) for n in linears}
        reasons = {n: why_declined(n, quant, n in last) or _why_not_learned(quant) for n, quant in quants.items()}
        simulated = {n: q for n, q in quants.items() if not reasons[n] or holds_grid(arguments(n)["weight"])}
        if any(True for _ in self._missing(gm, simulated, context)):
            self._learn(gm, simulated, context)
        if (end := self.end_to_end()) and self._decision(TUNED, context) is None:
            self._tune(gm, simulated, end, context)
        changed = [*self._put_scales(gm, context)]
        if self.settings().round:
            changed += [self._put(gm, n, quants[n], context) for n in linears if not reasons[n]]
        else:
            reasons = {}
        return Report(str(self), tuple(changed), tuple(Site(site(n), why) for n, why in reasons.items() if why))

    def _check(self, gm: fx.GraphModule, context: Context) -> None:
        if context.weights is None:
            raise UsageError(f"the pass {self.name} learns from samples: it needs a model, not a graph from text")
        if calls(gm, "edgeq.cached_attention"):
            raise UsageError(f"the pass {self.name} runs the graph on samples: put it before add-cache")

    def _missing(self, gm: fx.GraphModule, quants: dict[fx.Node, QuantSpec], context: Context) -> Iterator[str]:
        """Keys without a decision; a range that no quantized linear reads (the output's) stays as it is."""
        keys = [range_key(n) for n in calls(gm, "edgeq.fake_quant") if not quants.keys().isdisjoint(n.users)]
        if self.settings().round:
            keys += [decision_key(n, q) for n, q in quants.items() if not holds_grid(arguments(n)["weight"])]
        yield from (key for key in keys if self._decision(key, context) is None)

    def _learn(self, gm: fx.GraphModule, quants: dict[fx.Node, QuantSpec], context: Context) -> None:
        samples = context.samples(gm)
        if not samples:
            raise UsageError(f"the pass {self.name} learns from samples: this graph has none (see --calib)")
        self._prepare(gm, quants, context)
        sweep = Sweep(
            gm, context.weights, every_token(gm, samples), quants, self.settings(), self.slide(),
            known=lambda linear: self._known(linear, quants[linear], context),
            known_scale=lambda node: self._known_scale(node, context),
            decide=lambda learned: self._decide(learned, context),
            device=torch.device(self._device()),
            begin=lambda linear: self._begin(linear, quants[linear], context),
        )  # fmt: skip
        sweep.run(self.name, context.progress, context.decisions)

    def _prepare(self, gm: fx.GraphModule, quants: dict[fx.Node, QuantSpec], context: Context) -> None:
        if first := self.first():
            rounded = {n: quant for n, quant in quants.items() if not holds_grid(arguments(n)["weight"])}
            first.decide(gm, rounded, self._before(context))

    def _begin(self, linear: fx.Node, quant: QuantSpec, context: Context) -> Rounded | None:
        first = self.first()
        return first.decided(linear, quant, self._before(context)) if first else None

    def _before(self, context: Context) -> Context:
        """Decisions of the first rounding have a step of their own."""
        return replace(context, step=f"{decision_name(self, context)}, first")

    def _tune(
        self, gm: fx.GraphModule, quants: dict[fx.Node, QuantSpec], settings: Settings, context: Context
    ) -> None:
        """Decisions again, with scales learned through the whole model."""
        stage = f"{self.name}, end to end"
        context.progress(stage, 0, settings.epochs)
        tuned = tune(
            gm, context.weights, every_token(gm, context.samples(gm)), quants, settings,
            rounded=lambda linear: self._rounded(linear, quants[linear], context),
            scale=lambda node: self._known_scale(node, context),
            device=torch.device(self._device()),
            progress=lambda epoch: context.progress(stage, epoch + 1, settings.epochs),
        )  # fmt: skip
        self._decide(tuned, context)
        context.decisions.put(decision_name(self, context), TUNED, {"errors": torch.tensor(tuned.errors)})

    def _rounded(self, linear: fx.Node, quant: QuantSpec, context: Context) -> Rounded | None:
        found = self._decision(decision_key(linear, quant), context)
        return None if found is None else _rounded(found)

    def _decision(self, key: str, context: Context) -> dict[str, Tensor] | None:
        return context.decisions.get(decision_name(self, context), key)

    def _device(self) -> str:
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError(f"{self.name}: device=cuda, but torch finds no GPU here; write device=cpu")
        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    def _known(self, linear: fx.Node, quant: QuantSpec, context: Context) -> Tensor | None:
        """A weight that is decided already, f32 `[N, K]`."""
        weight = arguments(linear)["weight"]
        if holds_grid(weight):
            return weight_value(weight, context.weights).float()
        found = self._rounded(linear, quant, context)
        return None if found is None else found.values(quant)

    def _known_scale(self, node: fx.Node, context: Context) -> Tensor | None:
        return (self._decision(range_key(node), context) or {}).get("scale")

    def _decide(self, learned: Learned, context: Context) -> None:
        name = decision_name(self, context)
        errors = {"errors": torch.tensor(learned.errors)}
        for linear, found in learned.weights.items():
            held = {"codes": found.codes, "scale": found.scale, "zero": found.zero}
            context.decisions.put(name, linear, {**{k: t for k, t in held.items() if t is not None}, **errors})
        for key, scale in learned.scales.items():
            context.decisions.put(name, key, {"scale": scale, **errors})

    def _put(self, gm: fx.GraphModule, linear: fx.Node, quant: QuantSpec, context: Context) -> Site:
        decision = self._decision(decision_key(linear, quant), context)
        assert decision is not None, "every linear lies in a window"
        found = _rounded(decision)
        put_on_grid(gm, linear, found.codes, found.scale, found.zero, quant.format)
        return Site(site(linear), f"{quant.format}, {_errors(decision)}")

    def _put_scales(self, gm: fx.GraphModule, context: Context) -> Iterator[Site]:
        for node in calls(gm, "edgeq.fake_quant"):
            decision = self._decision(range_key(node), context)
            if decision is not None:
                replace_argument(node, "scale", table(gm, decision["scale"], node, "range"))
                yield Site(site(node), f"scale {decision['scale'].item():.4g}, {_errors(decision)}")


def _rounded(decision: dict[str, Tensor]) -> Rounded:
    return Rounded(decision["codes"], decision["scale"], decision.get("zero"))


def _errors(decision: dict[str, Tensor]) -> str:
    before, after = decision["errors"].tolist()
    return f"error of its window {before:.3g} -> {after:.3g}"


def _why_not_learned(quant: QuantSpec) -> str:
    """Learned rounding chooses between neighbours of a uniform grid."""
    return "" if quant.kind == "int" else f"it is stored as {quant.format}: only whole numbers are learned"
