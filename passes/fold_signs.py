"""One mode instead of two: channels of keys that lie around -m take the sign of those around +m."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx

from edgeq.calibrate.stream import Captured, stream
from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, insert, site
from edgeq.passes.folds.folding import apply, table
from edgeq.passes.pass_ import Context, Pass, Range, Report, Site
from edgeq.passes.signs.density import modes
from edgeq.passes.signs.key_sites import KeySite, Projection, key_sites

Decision = dict[str, Tensor]


@dataclass(frozen=True)
class FoldSigns(Pass):
    """Rows of the query and key projections whose keys have a negative mean change sign, where keys are bimodal.

    PTQ4SAM's bimodal integration (CVPR 2024, section 3.2): `q k = (q g) (k g)` for `g` of +-1, so the scores are equal
    bit for bit, and two modes around -m and +m, as in SAM's token-to-image attention, become one of half the range.
    An equivalence; calibrated: keys are measured on the first samples. Under a rotary embedding both channels of every
    rotated pair must have one sign, or the site is declined.

    Attributes:
        samples: how many samples the keys are measured on (the paper's code: the first).
        force: fold wherever it is exact, bimodal or not.
    """

    name: ClassVar[str] = "fold-signs"
    measures: ClassVar[bool] = True
    samples: int = 1
    force: bool = False

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UsageError(f"fold-signs: samples={self.samples} measures nothing; give a positive number")

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Fold at every attention whose keys are bimodal. Raises UsageError where keys cannot be measured."""
        if calls(gm, "edgeq.cached_attention"):
            raise UsageError("the pass fold-signs runs the graph on samples: put it before add-cache")
        sites, declined = key_sites(gm)
        step = context.step or str(self)
        known = {one: context.decisions.get(step, one.key) for one in sites}
        missing = [one for one, decision in known.items() if decision is None]
        if missing:
            measured = self._measure(gm, missing, context)
            for one, made in measured.items():
                context.decisions.put(step, one.key, made)
            known |= measured
        changed = []
        for one, decision in known.items():
            assert decision is not None
            reason = self._why_not(one, decision)
            if reason:
                declined.append(Site(site(one.attention), reason))
            else:
                changed.append(_fold(gm, one, decision))
        return Report(str(self), tuple(changed), tuple(declined))

    def _measure(self, gm: fx.GraphModule, sites: list[KeySite], context: Context) -> dict[KeySite, Decision]:
        samples = context.samples(gm)[: self.samples] if context.weights is not None else []
        if not samples:
            raise UsageError("the pass fold-signs measures keys: it needs a model's weights and samples (see --calib)")
        found: dict[KeySite, Decision] = {}

        def visit(block: object, captured: Captured) -> None:
            for one in sites:
                if one.keys.node in captured:
                    found[one] = self._decide(one, torch.cat(captured.rows(one.keys.node)))

        wanted = {one.keys.node for one in sites}
        stream(
            gm, context.weights, samples, wanted.__contains__, visit,
            progress=context.progress, stage=self.name, journal=context.decisions,
        )  # fmt: skip
        return found

    def _decide(self, one: KeySite, keys: Tensor) -> Decision:
        """Signs, peaks and ranges of keys `[tokens, kv_heads*D]`; peaks are not counted where they cannot matter."""
        signs = torch.where(keys.mean(0) >= 0, 1.0, -1.0)
        count = -1 if self.force or one.disagreeing(signs) else modes(keys)
        low, high = keys.amin(0).float(), keys.amax(0).float()
        return {"signs": signs.float(), "peaks": torch.tensor(count), "low": low, "high": high}

    def _why_not(self, one: KeySite, decision: Decision) -> str:
        signs, count = decision["signs"], int(decision["peaks"])
        if one.disagreeing(signs):
            return f"{one.disagreeing(signs)} of {one.pairs} rotated pairs of channels have two signs"
        if not self.force and count != 2:
            return f"its keys are not bimodal: {count} peak{'' if count == 1 else 's'}"
        return "" if bool((signs < 0).any()) else "no channel of its keys is negative"


def _fold(gm: fx.GraphModule, one: KeySite, decision: Decision) -> Site:
    signs, low, high = (decision[name] for name in ("signs", "low", "high"))
    _flip(gm, one.queries, one.for_queries(signs))
    _flip(gm, one.keys, signs)
    after = Range(torch.where(signs < 0, -high, low), torch.where(signs < 0, -low, high))
    words = f"{int((signs < 0).sum())} of {len(signs)} channels of its keys change sign"
    return Site(site(one.attention), words, Range(low, high), after)


def _flip(gm: fx.GraphModule, rows: Projection, signs: Tensor) -> None:
    """Rows of the linear times their signs; its other rows times 1."""
    linear = rows.linear
    every = torch.ones(int(linear.meta["val"].shape[-1]))
    every[rows.start : rows.stop] = signs
    held = table(gm, every, linear, "signs")
    with gm.graph.inserting_before(linear):
        column = insert(gm.graph, "aten.reshape", held, [-1, 1], like=held)
    apply(linear, "weight", "aten.mul.Tensor", column)
    if arguments(linear)["bias"] is not None:
        apply(linear, "bias", "aten.mul.Tensor", held)
