"""Static activation ranges: one scale for an activation, measured on samples, instead of one for every token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, fx

from edgeq.calibrate.stream import stream
from edgeq.errors import UsageError
from edgeq.ir.graph import calls
from edgeq.ir.ops.fake_quant import BITS
from edgeq.ir.verify import is_static
from edgeq.passes.clips.clipping import FLOOR, METHODS, Histogram, percentile, tokens_limit
from edgeq.passes.clips.spots import Spot, insert_range, spots
from edgeq.passes.clips.token_clipping import Compared, Extremes, choose_ratio, compared, rows_of
from edgeq.passes.folds.calibrated import decision_name
from edgeq.passes.pass_ import Context, Pass, Range, Report, Site

if TYPE_CHECKING:
    from edgeq.calibrate.blocks import Block
    from edgeq.calibrate.samples import Sample
    from edgeq.calibrate.stream import Captured

KNOWN = (*METHODS, "percentile", "tokenwise")
Decision = dict[str, Tensor]
Put = Callable[[str, Decision], None]


@dataclass(frozen=True)
class StaticRanges(Pass):
    """One `fake_quant` before the linears that read an activation, which `quantize` takes in. A quantizer choice.

    Attention's probabilities are never quantized: no linear reads them. Tokens can be of very different size, above
    all the first of a text and those before a gated activation's `down` linear: an activation whose largest token
    reaches more than `spread` times as far as half of them do is left out, and keeps a scale a token.

    Attributes:
        method: how far the scale reaches. `minmax`: the largest magnitude; `percentile`: what `percentile` percent of
            all values do not exceed; `mse`: least squared error; `kl`: least divergence (TensorRT); `tokenwise`: the
            quantile of tokens' extremes, one for all activations, that changes the outputs least (Outlier Suppression).
        bits: 8; others are simulation only (2..7).
        percentile: of the method of that name.
        spread: see above; 0 leaves nothing out.
        head: also before the output head of a language model.
        ratios: most candidates of `tokenwise`; each runs the model once.
    """

    name: ClassVar[str] = "static-ranges"
    measures: ClassVar[bool] = True
    method: str = "mse"
    bits: int = 8
    percentile: float = 99.99
    spread: float = 4.0
    head: bool = True
    ratios: int = 11

    def __post_init__(self) -> None:
        if self.method not in KNOWN:
            raise UsageError(f"static-ranges: method {self.method!r} is not known; known: {', '.join(KNOWN)}")
        if self.bits not in BITS:
            raise UsageError(f"static-ranges: {self.bits} bits; known: {BITS[0]} to {BITS[-1]}")
        if not 0 < self.percentile <= 100 or self.spread < 0 or self.ratios < 2:
            raise UsageError(f"{self}: percentile lies in 0..100, spread is not negative, ratios is 2 or more")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Measure what is not known yet, then insert; before merge-linears, which merges across it.

        Raises:
            UsageError: something must be measured, and there are no weights or samples; or the graph has caches.
        """
        self._check(gm, context)
        float_head = context.bits is not None and context.bits.head_act == "a16"
        found = spots(gm, self.head and not float_head)
        name = decision_name(self, context)
        missing = [spot for spot in found if context.decisions.get(name, spot.key) is None]
        if missing:
            measure = self._search if self.method == "tokenwise" else self._measure
            measure(gm, context, missing, partial(context.decisions.put, name))
        changed, declined = [], []
        for spot in found:
            decision = context.decisions.get(name, spot.key)
            reason = "no sample reaches it" if decision is None else self._why_not(decision)
            if decision is None or reason:
                declined.append(Site(spot.module, reason, _before(decision)))
            else:
                changed.append(self._insert(gm, spot, decision))
        return Report(str(self), tuple(changed), tuple(declined))

    def _check(self, gm: fx.GraphModule, context: Context) -> None:
        if context.weights is None:
            raise UsageError(f"the pass {self.name} measures activations: it needs a model's weights and samples")
        if calls(gm, "edgeq.cached_attention", "edgeq.fake_quant"):
            raise UsageError(f"the pass {self.name} runs once, on a float graph: put it before add-cache")

    def _measure(self, gm: fx.GraphModule, context: Context, wanted: list[Spot], put: Put) -> None:
        """Put a decision for each spot, block by block: `limit`, `spread` f32 `[1]`, `low`, `high` f32 `[K]`."""

        def visit(spot: Spot, captured: Captured) -> None:
            limit = torch.tensor([self._limit(captured.rows(spot.activation))])
            put(spot.key, {**_statistics(spot, captured, is_static(gm)), "limit": limit})

        self._stream(gm, context, context.samples(gm), wanted, visit)

    def _limit(self, parts: list[Tensor]) -> float:
        seen = Histogram.of(parts)
        if self.method == "percentile":
            return percentile(seen, self.percentile)
        return METHODS[self.method](seen, self.bits)

    def _search(self, gm: fx.GraphModule, context: Context, wanted: list[Spot], put: Put) -> None:
        """Put the decisions that follow from one ratio for all spots, when it is known."""
        samples = context.samples(gm)
        found: dict[str, Decision] = {}
        extremes: dict[Spot, Extremes] = {}
        outputs: dict[Compared, list[Tensor]] = {one: [] for one in compared(gm, context.weights)}

        def visit(spot: Spot, captured: Captured) -> None:
            found[spot.key] = _statistics(spot, captured, is_static(gm))
            extremes[spot] = Extremes.of(captured.rows(spot.activation))

        self._stream(gm, context, samples, wanted, visit, outputs)
        kept = {spot: seen for spot, seen in extremes.items() if not self._why_not(found[spot.key])}
        alpha, _ = choose_ratio(gm, context, samples, kept, outputs, self.bits, self.ratios)
        for spot, seen in extremes.items():
            limit = tokens_limit(seen.high, seen.low, alpha)
            put(spot.key, {**found[spot.key], "limit": torch.tensor([limit]), "ratio": torch.tensor([alpha])})

    def _stream(
        self,
        gm: fx.GraphModule,
        context: Context,
        samples: list[Sample],
        wanted: list[Spot],
        visit_spot: Callable[[Spot, Captured], None],
        outputs: dict[Compared, list[Tensor]] | None = None,
    ) -> None:
        """Show each spot that samples reach; fill `outputs` with the values to compare."""
        ends = {one.shown: held for one, held in (outputs or {}).items()}

        def visit(block: Block, captured: Captured) -> None:
            for spot in wanted:
                if spot.activation in captured and any(map(len, captured.rows(spot.activation))):
                    visit_spot(spot, captured)
            for node, held in ends.items():
                if node in captured:
                    held += rows_of(captured, node)

        shown = {spot.activation for spot in wanted} | set(ends)
        stream(
            gm, context.weights, samples, shown.__contains__, visit, progress=context.progress, stage=self.name,
            journal=None if outputs else context.decisions,
        )  # fmt: skip

    def _why_not(self, decision: Decision) -> str:
        """Why an activation keeps a scale a token, "" when it does not."""
        spread = float(decision["spread"])
        if not self.spread or spread <= self.spread:
            return ""
        return f"its largest token reaches {spread:.3g} times as far as half of them do: it keeps a scale a token"

    def _insert(self, gm: fx.GraphModule, spot: Spot, decision: Decision) -> Site:
        limit = float(decision["limit"])
        insert_range(gm, spot, limit, self.bits)
        what = f"range {limit:.4g} of {_reach(decision):.4g}"
        if "ratio" in decision:
            what += f", ratio {float(decision['ratio']):.3g}"
        after = Range(decision["low"].clamp(min=-limit), decision["high"].clamp(max=limit))
        return Site(spot.module, what, _before(decision), after)


def _before(decision: Decision | None) -> Range | None:
    return None if decision is None else Range(decision["low"], decision["high"])


def _reach(decision: Decision) -> float:
    return max(float(decision["high"].max()), -float(decision["low"].min()))


def _statistics(spot: Spot, captured: Captured, static: bool) -> Decision:
    """Channel ranges over the counted rows; how much farther the largest token reaches than half of them do.

    In a language model the first token, which no range counts, is one of them: a scale would clip it.
    """
    rows = [part for part in captured.rows(spot.activation) if len(part)]
    low, high = (torch.stack([reduce(part, 0) for part in rows]).float() for reduce in (torch.amin, torch.amax))
    tokens = torch.cat([part.abs().amax(1) for part in rows])
    first = 0.0 if static else max(map(_uncounted, captured.values(spot.activation), captured.samples))
    spread = max(float(tokens.max()), first) / max(float(tokens.median()), FLOOR)
    return {"low": low.amin(0), "high": high.amax(0), "spread": torch.tensor([spread])}


def _uncounted(held: Tensor, sample: Sample) -> float:
    left = held.flatten(0, -2)[~sample.counted] if held.flatten(0, -2).shape[0] == len(sample.counted) else held[:0]
    return float(left.abs().max()) if left.numel() else 0.0
