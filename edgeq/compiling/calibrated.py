"""The passes of a compile: the recipe's, measured on calibration data, then the compiler's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeq.calibrate.chained import Chained
from edgeq.compiling.continued import decisions
from edgeq.compiling.measured import Measured, open_measured, threads_of
from edgeq.compiling.options import Options, Resolved, record
from edgeq.compiling.recipes import kind_of, measures, pipelines, recipe_of
from edgeq.compiling.refusals import refuse_idle_data, refuse_without_samples
from edgeq.frontend.entries import EntryGraph
from edgeq.frontend.source import Source
from edgeq.imports.plan import formats_of
from edgeq.imports.record import keeps_codes
from edgeq.ir.graph import calls, inputs
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.bits import Bits

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Passed:
    """What ran: reports in order, and the manifest's `recipe`, from which a compile can be repeated."""

    reports: list[Report]
    recipe: dict[str, Any]


def run_all(
    entries: Sequence[EntryGraph],
    source: Source,
    options: Options,
    context: int,
    progress: Progress,
    journal: Path | None = None,
) -> Passed:
    """Resolve the recipe and run every pass on every entry, in place.

    Args:
        context: tokens that caches hold. journal: folder to keep decisions in, so that an interrupted compile goes on.

    Raises:
        UsageError: passes that need samples where there are none; data that changed since `options.resolved`.
    """
    by_length = sorted(entries, key=lambda e: (-e.length, e.batch))  # the longest is measured, for all
    kind = kind_of(entries)
    options = settled(options, source, kind)
    tried = pipelines(options, kind)
    refuse_idle_data(options, tried)
    measured = open_measured(options, source, progress, wanted=len(tried) > 1 or measures(tried[0]))
    with threads_of(options):
        kept = decisions(journal, source, options, measured)
        samples = Chained(entries, source.weights, measured.samples, progress).samples
        shared = Context(
            source.weights, samples=samples, decisions=kept, progress=progress, bits=options.bits,
            formats=formats_of(source, options),
        )  # fmt: skip
        resolved = options.resolved or _resolve(by_length, shared, tried, measured)
        refuse_without_samples(options, resolved.passes, by_length, measured)
        progress(f"recipe {describe(options, resolved, measured)}", 0, 0)
        for entry in by_length:
            run_entry(entry, options.bits, context, shared, resolved.passes)
        recipe = {
            "options": record(options),
            "passes": list(resolved.passes),
            "candidates": list(resolved.candidates),
            "calibration": measured.record() or (options.resolved.calibration if options.resolved else {}),
        }
    return Passed(shared.reports, recipe)


def settled(options: Options, source: Source, kind: str) -> Options:
    """The recipe that the model gets: none where it keeps codes that it was quantized to."""
    if keeps_codes(source.imports):
        return replace(options, weights="kept" if options.weights == "default" else options.weights, recipe="")
    weights = "bits" if options.weights == "default" else options.weights
    return replace(options, weights=weights, recipe=recipe_of(options, kind))


def run_entry(entry: EntryGraph, bits: Bits, context: int, shared: Context, passes: Sequence[str]) -> list[Report]:
    """Run calibrated passes, then the compiler's, in place; passes that measure are declined where no sample fits."""
    before = len(shared.reports)
    steps = [step for text in passes for step in parse_pipeline(text)]
    if any(step.measures for step in steps) and not shared.samples(entry.gm):
        reason = f"no calibration sample fits what this entry takes: {', '.join(inputs(entry.gm))}"
        shared.reports += [Report(str(step), (), (Site(entry.name, reason),)) for step in steps if step.measures]
        steps = [step for step in steps if not step.measures]
    run_pipeline(entry.gm, [*steps, *own_passes(entry, bits, context)], shared)
    return shared.reports[before:]


def own_passes(entry: EntryGraph, bits: Bits, context: int) -> list[Pass]:
    """The passes that every compile runs on this entry, whatever the recipe.

    Formats come before merging: linears of different formats cannot be merged.
    """
    cross = f"cross-cache{{kv={bits.kv}}}," if calls(entry.gm, "edgeq.store_keys", "edgeq.cross_attention") else ""
    token = f"add-cache{{kv={bits.kv},context={context}}},last-row," if entry.kind == "token" else ""
    return parse_pipeline(f"{cross}{token}quantize{{bits={bits}}},merge-linears")


def describe(options: Options, resolved: Resolved, measured: Measured) -> str:
    """One line: `balanced: smooth{alpha=0.5,powers=true} on 8 windows of 512 tokens of notes.txt`."""
    name = "of --pass" if options.passes else options.recipe or "codes as imported"
    said = f"{name}: {', '.join(resolved.passes) or 'no calibrated passes'}"
    if not measured.wanted:
        return said
    data = measured.data.description
    return f"{said} on {data}" if data != "none" else f"{said} (there are no samples: what measures is left out)"


def _resolve(entries: Sequence[EntryGraph], shared: Context, tried: list[list[str]], measured: Measured) -> Resolved:
    if len(tried) == 1:
        return Resolved(tuple(tried[0]))
    from edgeq.compiling.recipes_best import best

    return best(entries, shared, tried, measured)
