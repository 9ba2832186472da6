"""Sensitivity of a model: which method, which entries, and all damages put together."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from torch import fx

from edgeq.errors import UsageError
from edgeq.evaluate.graph import GraphModel
from edgeq.ir.graph import calls, inputs, output
from edgeq.quant.format import WeightFormat
from edgeq.sensitivity.candidates import Asked, together
from edgeq.sensitivity.direct import Direct
from edgeq.sensitivity.fisher import Fisher
from edgeq.sensitivity.result import NATS, RELATIVE, Candidate, Sensitivity, Unit
from edgeq.sensitivity.units import Part, parts

if TYPE_CHECKING:
    from edgeq.calibrate.samples import Sample
    from edgeq.frontend.entries import EntryGraph
    from edgeq.frontend.source import Source

FISHER, KL, OUTPUT = METHODS = ("fisher", "kl", "output")
HEADS = ("w4g32", "w8g32", "f16")  # what the bits grammar knows of heads
Progress = Callable[[str, int, int], None]
Damages = dict[str, dict[str, float]]


def _silent(stage: str, done: int, total: int) -> None:
    """Nobody asked for progress."""


def measure(
    entries: Sequence[EntryGraph],
    source: Source,
    samples: Callable[[fx.GraphModule], list[Sample]],
    formats: Sequence[str],
    method: str = "",
    *,
    act: str = "a8",
    heads: Sequence[str] = HEADS,
    only: str = "",
    seed: int = 0,
    progress: Progress = _silent,
) -> Sensitivity:
    """What each unit of a model suffers in each candidate format.

    Args:
        entries: float graphs, before add-cache and merge-linears, calibrated passes run or not; not rewritten.
        source: its weights are read; its name is reported.
        samples: inputs of a graph, [] where there are none that fit (`Data.samples`).
        formats: candidates of linears, `w4g128a`, `w8`, `w3g64`, ... heads: of the output head and token embedding.
        method: `fisher` (a language model's divergence, estimated; its default), `kl` (measured, unit by unit), or
            `output` (relative error of outputs, measured; every other model's).
        act: activations beside those weights: `a8`, `a4` or `a16`.
        only: units of which a module fits this pattern (`model.layers.2.*`); "": all.
        seed: of the labels that `fisher` draws.
        progress: called with (stage, done, total).

    Raises:
        UsageError: an unknown method or format, `fisher` or `kl` of a model that gives no next-token probabilities, a
            pattern that fits nothing, or no samples. UnsupportedError: a weight that a candidate cannot store.
    """
    check_method(method)
    method = method or (FISHER if _is_language_model(entries) else OUTPUT)
    if method != OUTPUT and not _is_language_model(entries):
        raise UsageError(f"--method {method} is of next-token probabilities, and {source.name} gives none: use output")
    judged = _judged(entries, samples)
    ranges = "minmax" if any(entry.kind == "token" for entry in entries) else "mse"  # as lowering stores them
    asked = Asked(together(formats), together(heads), act, ranges)
    units = _chosen(entries, only)
    found = [_entry(entry, source, given, asked, method, units, seed, progress) for entry, given in judged]
    damages = [damage for damage, _ in found]
    listed = tuple(_unit(unit, asked, damages) for unit in units.values() if any(unit.key in d for d in damages))
    unit = RELATIVE if method == OUTPUT else NATS
    return Sensitivity(source.name, method, unit, sum(rows for _, rows in found), listed, act, _left(units, damages))


def check_method(method: str) -> None:
    """UsageError of a method that is not known; "" is the one that fits the model."""
    if method and method not in METHODS:
        raise UsageError(f"--method {method}: not known; known: {', '.join(METHODS)}")


def _is_language_model(entries: Sequence[EntryGraph]) -> bool:
    one = len(entries) == 1 and entries[0].kind == "token"
    return one and set(inputs(entries[0].gm)) <= {"input_ids", "position_ids"}


def _judged(
    entries: Sequence[EntryGraph], samples: Callable[[fx.GraphModule], list[Sample]]
) -> list[tuple[EntryGraph, list[Sample]]]:
    """The longest entry of each base that samples fit."""
    first: dict[str, tuple[EntryGraph, list[Sample]]] = {}
    for entry in sorted(entries, key=lambda e: (-e.length, e.batch)):
        if entry.base not in first and (given := samples(entry.gm)):
            first[entry.base] = entry, given
    if not first:
        names = ", ".join(entry.name for entry in entries)
        raise UsageError(f"sensitivity is measured on samples, and none fits {names}: give other data (--calib)")
    return list(first.values())


def _chosen(entries: Sequence[EntryGraph], only: str) -> dict[str, Part]:
    """Units of all entries by key, the first of each; UsageError names some where the pattern fits none."""
    every: dict[str, Part] = {}
    for entry in entries:
        every.update({unit.key: unit for unit in parts(entry.gm) if unit.key not in every})
    found = {key: u for key, u in every.items() if not only or any(fnmatchcase(name, only) for name in u.modules)}
    if not found:
        some = ", ".join(unit.modules[0] for unit in list(every.values())[:3])
        raise UsageError(f"--only {only}: no part of the model fits; there are {some}, ... ({len(every)} in all)")
    return found


def _entry(
    entry: EntryGraph, source: Source, samples: list[Sample], asked: Asked, method: str, chosen: Container[str],
    seed: int, progress: Progress,
) -> tuple[Damages, int]:  # fmt: skip
    units = [unit for unit in parts(entry.gm) if unit.key in chosen]
    model = GraphModel(entry.gm, source.weights, wanted=_results(entry.gm))
    if method == FISHER:
        return Fisher(entry.gm, model, units, asked, progress, seed).measure(samples)
    return Direct(model, units, asked, method == KL, progress).measure(samples)


def _results(gm: fx.GraphModule) -> list[fx.Node]:
    """Outputs, and keys and values that an encoder leaves to its decoder."""
    left = [node for call in calls(gm, "edgeq.store_keys") for node in call.all_input_nodes]
    return [n for n in dict.fromkeys([*output(gm).all_input_nodes, *left]) if n.op == "call_function"]


def _unit(unit: Part, asked: Asked, damages: Sequence[Damages]) -> Unit:
    """A unit that several entries share has the mean of its damages."""
    known = [found[unit.key] for found in damages if unit.key in found]
    formats = {
        text: Candidate(sum(one[text] for one in known) / len(known), unit.bytes(WeightFormat.parse(text)))
        for text in asked.formats(unit)
    }
    return Unit(unit.modules, unit.shape, formats, unit.kind)


def _left(units: dict[str, Part], damages: Sequence[Damages]) -> tuple[str, ...]:
    """What no sample reaches."""
    missing = [unit.modules[0] for unit in units.values() if not any(unit.key in found for found in damages)]
    return (f"no sample reaches {len(missing)} units: {', '.join(missing[:3])}",) if missing else ()
