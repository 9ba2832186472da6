"""The passes of a compile: the recipe's, measured on calibration data, then the compiler's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeq.calibrate.journal import Decisions
from edgeq.errors import UsageError
from edgeq.frontend.entries import EntryGraph
from edgeq.frontend.source import Source
from edgeq.ir.graph import calls, inputs
from edgeq.measured import Measured, open_measured, threads_of
from edgeq.options import Options, Resolved, record
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.bits import Bits
from edgeq.recipes import BEST, candidates, kind_of, resolve

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
) -> Passed:
    """Resolve the recipe and run every pass on every entry, in place.

    Args:
        context: tokens that caches hold.

    Raises:
        UsageError: passes that need samples where there are none; data that changed since `options.resolved`.
    """
    measured = open_measured(options, source, progress)
    shared = Context(
        source.weights, samples=measured.samples, decisions=Decisions(), progress=progress, bits=options.bits
    )  # fmt: skip
    by_length = sorted(entries, key=lambda e: (-e.length, e.batch))  # the longest is measured, for all
    with threads_of(options):
        resolved = options.resolved or _resolve(by_length, shared, options, measured)
        check_samples(by_length, resolved.passes, options, measured)
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
    """The passes that every compile runs on this entry, whatever the recipe."""
    cross = f"cross-cache{{kv={bits.kv}}}," if calls(entry.gm, "edgeq.store_keys", "edgeq.cross_attention") else ""
    token = f"add-cache{{kv={bits.kv},context={context}}},last-row," if entry.kind == "token" else ""
    return parse_pipeline(f"{cross}{token}merge-linears,quantize{{bits={bits}}}")


def check_samples(entries: Sequence[EntryGraph], passes: Sequence[str], options: Options, measured: Measured) -> None:
    """Raise UsageError for passes that were asked for and cannot measure, and for data that nothing measures."""
    steps = [step.name for text in passes for step in parse_pipeline(text) if step.measures]
    given = options.calibration not in ("", "none") or options.samples or options.length
    if given and not steps:
        listed = ", ".join(passes) or "no passes"
        raise UsageError(f"--calib means nothing here: {options.bits} with {listed} measures nothing; leave it out")
    if not steps or any(measured.samples(entry.gm) for entry in entries):
        return
    if options.calibration == "none":
        why = "--calib none"
    else:
        why = f"{options.calibration or 'edgeq’s own text'} holds nothing that its entries take"
    if options.passes or given:
        raise UsageError(f"--pass {steps[0]} measures activations on samples, and there are none: {why}")


def describe(options: Options, resolved: Resolved, measured: Measured) -> str:
    """One line: `balanced: smooth{alpha=0.5,powers=true} on 8 samples (4,096 tokens) of notes.txt`."""
    name = "of --pass" if options.passes else options.recipe
    said = f"{name}: {', '.join(resolved.passes) or 'no calibrated passes'}"
    data = measured.record()
    return f"{said} on {data['samples']} samples ({data['tokens']:,} tokens) of {data['description']}" if data else said


def _resolve(entries: Sequence[EntryGraph], shared: Context, options: Options, measured: Measured) -> Resolved:
    kind = kind_of(entries)
    if options.passes:
        return Resolved(options.passes)
    if options.recipe != BEST:
        return Resolved(tuple(resolve(options.recipe, kind, options.bits)))
    from edgeq.recipes_best import best

    return best(entries, shared, candidates(kind, options.bits), measured)
