"""Decisions of calibrated passes as they might fall, so that a graph gets the tensors that a compile would give it.

A scale, shift or range changes which vectors are stored, not how many bytes a value takes: any numbers do, and they are
drawn so that they take as much room in passes.json as measured ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx

from edgeq.errors import UnsupportedError
from edgeq.frontend.entries import EntryGraph
from edgeq.passes.folds.calibrated import decision_name
from edgeq.passes.folds.fold_points import FoldPoint, fold_points
from edgeq.passes.folds.folding import part_norms
from edgeq.passes.pass_ import Context, Pass, Report, Site
from edgeq.passes.pipeline import parse_pipeline

FOLDS = ("smooth", "osplus", "awq", "pre-sinq")
PLAIN = ("gamma-migration", "rotate")  # decide nothing from data
RANGES = "static-ranges"
OWN_FORMATS = ("ternary", "fdb", "billm")  # of weights, whatever the bits say
SEED = 0
Put = Callable[[str, dict[str, Tensor]], None]


def run_assumed(entry: EntryGraph, passes: Sequence[str], context: Context) -> list[str]:
    """Run those calibrated passes, in place, that change what is stored; returns the others, which only choose values.

    Args:
        passes: as `edgeq opt -p` takes them. context: of a blank model; reports go there.

    Raises UnsupportedError for passes that store weights in a format of their own.
    """
    steps, left = [step for text in passes for step in parse_pipeline(text)], []
    if own := [step.name for step in steps if step.name in OWN_FORMATS]:
        raise UnsupportedError(
            f"--pass {own[0]} stores weights in a format of its own, which a dry run does not know: compile, or say "
            "what comes near as bits (t2a8, p2a8, c4a8, w1a8) and leave the pass out"
        )
    for index, step in enumerate(steps):
        context.step = f"{index}:{','.join(s.spelt() for s in steps[: index + 1])}"
        if step.name not in (*FOLDS, *PLAIN, RANGES):
            left.append(step.spelt())
            continue
        _assume(step, entry.gm, context)
        step(entry.gm, context)
    return left


def _assume(step: Pass, gm: fx.GraphModule, context: Context) -> None:
    """Put a decision for every site of the pass."""
    name = decision_name(step, context)
    generator = torch.Generator().manual_seed(SEED)
    if step.name in FOLDS:
        part_norms(gm)
        kinds = str(getattr(step, "kinds", "norm+value+gated+relu")).split("+")
        for point in fold_points(gm, tuple(kinds))[0]:
            context.decisions.put(name, point.key, _fold(step, point, generator))
    if step.name == RANGES:
        from edgeq.passes.static_ranges import spots

        for spot in spots(gm, bool(getattr(step, "head", True))):
            width = int(spot.activation.meta["val"].shape[-1])
            found = {"limit": torch.tensor([3.1416]), "spread": torch.tensor([1.0]), **_ends(width, generator)}
            context.decisions.put(name, spot.key, found)


def _fold(step: Pass, point: FoldPoint, generator: torch.Generator) -> dict[str, Tensor]:
    width = point.channels // point.repeat
    found = {"scale": 0.5 + torch.rand(width, generator=generator), **_ends(point.channels, generator)}
    why_no_shift = getattr(step, "why_no_shift", None)
    if why_no_shift is not None and getattr(step, "shift", False) and not why_no_shift(point):
        found["shift"] = torch.randn(width, generator=generator)
    numbers = {"errors": [0.3142, 0.2718], "alpha": 0.35, "imbalance": [3.142, 2.718]}
    return {**found, **{name: torch.tensor(value) for name, value in numbers.items()}}


def _ends(width: int, generator: torch.Generator) -> dict[str, Tensor]:
    high = torch.randn(width, generator=generator).abs() + 0.1
    return {"low": -high * 0.9, "high": high}


def declined(name: str, reason: str) -> Report:
    """What a pass reports that finds no samples."""
    return Report(name, (), (Site("", reason),))
