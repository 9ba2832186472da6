"""Options that mean nothing to the model they are given for: they are refused, never ignored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeq.compiling.recipes import measures
from edgeq.errors import UsageError
from edgeq.frontend.interfaces import Shapes
from edgeq.ir.graph import calls, hf_name, inputs
from edgeq.quant.format import WeightFormat
from edgeq.quant.per_linear import modules_of, unused
from edgeq.quant.support import without_kernel

if TYPE_CHECKING:
    from edgeq.compiling.measured import Measured
    from edgeq.compiling.options import Options
    from edgeq.frontend.entries import EntryGraph


def refuse_idle(options: Options, entries: Sequence[EntryGraph]) -> None:
    """Raise UsageError for shapes that no entry has."""
    names = {port.name for entry in entries for port in entry.inputs}
    decodes = any(entry.kind == "token" for entry in entries)
    default, shapes = Shapes(), options.shapes
    idle = {
        "--lengths": shapes.lengths != default.lengths and "input_ids" not in names,
        "--batch": shapes.batch != default.batch and decodes,
        "--image-size": shapes.image_size is not None and "pixel_values" not in names,
        "--points": shapes.points != default.points and "input_points" not in names,
    }
    if given := [name for name, is_idle in idle.items() if is_idle]:
        listed = ", ".join(entry.name for entry in entries)
        raise UsageError(f"{', '.join(given)} means nothing to {options.model} (entries: {listed}): leave it out")


def refuse_without_kernel(options: Options) -> None:
    """Raise UsageError for bits and formats that can be simulated but not compiled."""
    texts = {f"--bits {options.bits}": options.bits.without_kernel}
    for module, text in options.formats.items():
        texts[f"--formats {module}: {text}"] = without_kernel(WeightFormat.parse(text), options.bits.act)
    for said, what in texts.items():
        if what:
            raise UsageError(f"{said}: {what} have no kernel yet; simulate with benchmarks/quality.py --on graph")


def refuse_unknown_modules(options: Options, entries: Sequence[EntryGraph]) -> None:
    """Raise UsageError for names of `--formats` that no linear has."""
    modules = [name for entry in entries for n in calls(entry.gm, "aten.linear") for name in modules_of(hf_name(n))]
    if missing := unused(options.formats, modules):
        some = ", ".join(dict.fromkeys(modules[:4]))
        raise UsageError(f"--formats: {', '.join(missing)} names no linear of {options.model} (such as {some})")


def refuse_idle_data(options: Options, pipelines: Sequence[Sequence[str]]) -> None:
    """Raise UsageError for calibration data, asked for by name, that no pass measures."""
    given = {
        "--calib": options.calibration not in ("", "none"),
        "--calib-samples": options.samples > 0,
        "--calib-length": options.length > 0,
    }
    named = [name for name, is_given in given.items() if is_given]
    if named and not options.resolved and not any(map(measures, pipelines)):
        passes = ", ".join(options.passes) or f"recipe {options.recipe}"
        raise UsageError(
            f"{', '.join(named)} means nothing here: {passes} measures nothing at {options.bits} for this model; leave "
            "it out, or choose another --recipe, or --pass"
        )


def refuse_without_samples(
    options: Options, passes: Sequence[str], entries: Sequence[EntryGraph], measured: Measured
) -> None:
    """Raise UsageError for passes or data that were asked for by name when no entry has samples to measure."""
    named = options.passes or options.calibration not in ("", "none")
    if not named or not measures(passes) or any(measured.samples(entry.gm) for entry in entries):
        return
    takes = "; ".join(f"{entry.name} takes {', '.join(inputs(entry.gm))}" for entry in entries)
    why = "--calib none" if options.calibration == "none" else f"{measured.data.description} holds none that fit"
    raise UsageError(
        f"{', '.join(passes)} measures activations on samples, and there are none: {why} ({takes}); give --calib DATA"
    )
