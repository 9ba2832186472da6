"""What is known before formats are chosen: damages, bytes and seconds of every unit, and the text to score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import fx

from edgeq.budget.allocate import Allocation, Item
from edgeq.budget.check import Scored
from edgeq.budget.estimate import Estimate
from edgeq.budget.goal import Goal
from edgeq.budget.held_out import held_out, losses
from edgeq.budget.menu import HEADS, LINEARS, check_bits, code_bytes, items_of, with_formats
from edgeq.budget.times import Times, step_times
from edgeq.budget.weigh import Weighed, weigh
from edgeq.calibrate.chained import Chained
from edgeq.compiling.measured import open_measured
from edgeq.compiling.options import Options
from edgeq.compiling.prepared import Prepared
from edgeq.errors import UsageError
from edgeq.imports.plan import refuse_kept
from edgeq.sensitivity.result import NATS, Sensitivity

if TYPE_CHECKING:
    from edgeq.calibrate.data import Data
    from edgeq.calibrate.samples import Sample

Progress = Callable[[str, int, int], None]
Samples = Callable[[fx.GraphModule], "list[Sample]"]


@dataclass(frozen=True)
class Problem:
    """A model and what its formats cost.

    Attributes:
        prepared: graphs are copied for every use. items: units in the order of `sensitivity.units`.
        estimate: before anything was compiled. scored: None where perplexity means nothing.
        times: where seconds come from; None: nobody asked for a latency.
    """

    prepared: Prepared
    options: Options
    sensitivity: Sensitivity
    items: list[Item]
    estimate: Estimate
    scored: Scored | None
    times: Times | None

    def options_for(self, found: Allocation) -> Options:
        """What compiles an allocation."""
        return with_formats(self.options, self.sensitivity, found)

    def weigh(self, found: Allocation, progress: Progress) -> Weighed:
        """Bytes of the artifact with an allocation."""
        return weigh(self.prepared, self.options_for(found), progress)


def pose(prepared: Prepared, options: Options, goal: Goal, progress: Progress, score: bool = True) -> Problem:
    """Measure damages on calibration samples, time kernels where a latency is asked for, score the float model.

    Raises:
        UsageError: bits that leave nothing to choose, a perplexity of a model that has none, no samples.
    """
    refuse_kept(prepared.source, "a budget")
    check_bits(options)
    check_goal(goal, prepared)
    data = open_measured(options, prepared.source, progress)
    samples = Chained(prepared.entries, prepared.source.weights, data.samples, progress).samples
    sensitivity = _sensitivity(prepared, options, samples, progress)
    times = step_times(prepared, options, sensitivity, progress) if goal.seconds is not None else None
    items = items_of(sensitivity, times.seconds if times else None)
    code = code_bytes(items, options.target)
    estimate = Estimate(seconds=times.rest if times else 0.0, code=code, nats=sensitivity.unit == NATS)
    scored = None
    if score and estimate.nats and ("tokenizer.json" in prepared.source.assets or goal.increase is not None):
        scored = _scored(prepared, data.data, goal.text, progress)
    return Problem(prepared, options, sensitivity, items, estimate, scored, times)


def check_goal(goal: Goal, prepared: Prepared) -> None:
    """Raise UsageError for promises that mean nothing to the model."""
    language = prepared.decodes and len(prepared.entries) == 1
    if goal.increase is not None and not language:
        raise UsageError(f"--max-ppl-increase: {prepared.source.name} is no decoder-only language model: no perplexity")
    if goal.text and not language:
        raise UsageError(f"--eval-text: {prepared.source.name} is no decoder-only language model: no perplexity")


def _sensitivity(prepared: Prepared, options: Options, samples: Samples, progress: Progress) -> Sensitivity:
    from edgeq.sensitivity.measure import measure

    return measure(
        prepared.entries, prepared.source, samples, LINEARS, act=options.bits.act, heads=HEADS, seed=options.seed,
        progress=progress,
    )  # fmt: skip


def _scored(prepared: Prepared, data: Data, file: str, progress: Progress) -> Scored:
    from edgeq.evaluate.graph import graph_logits

    text = held_out(prepared.source, data, file, prepared.context)
    logits = graph_logits(prepared.entries[0].gm, prepared.source.weights)
    return Scored(text, losses(logits, text, progress, "score the float model"))
