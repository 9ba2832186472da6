"""The predicted frontier of a model: the least damage at every size, formats chosen anew for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgeq.budget.allocate import Allocation, Limits, allocate
from edgeq.budget.estimate import Estimate
from edgeq.budget.problem import Problem
from edgeq.sensitivity.result import HEAD

Progress = Callable[[str, int, int], None]
STEPS = 16


@dataclass(frozen=True)
class Point:
    """An artifact that was not compiled.

    Attributes:
        bytes: of the folder. damage: nats a token, or relative error. share: predicted rise of perplexity, None where
            there is none. formats: format -> share of the linears' weights in it; head: its format.
    """

    bytes: int
    damage: float
    share: float | None
    formats: Mapping[str, float]
    head: str

    def to_json(self) -> dict[str, Any]:
        """As `edgeq pareto --json` prints it."""
        rest = {"formats": {name: round(part, 4) for name, part in self.formats.items()}, "head": self.head}
        share = {} if self.share is None else {"perplexity_increase": self.share}
        return {"bytes": self.bytes, "damage": self.damage, **share, **rest}


@dataclass(frozen=True)
class Frontier:
    """Points in order of size, and the uniform artifacts beside them: format -> point, the head as bits leave it."""

    points: tuple[Point, ...]
    uniform: Mapping[str, Point]


def frontier(problem: Problem, progress: Progress, steps: int = STEPS) -> Frontier:
    """Allocations of sizes between the smallest and the one that no more bytes make better; two plans are weighed."""
    items, estimate = problem.items, problem.estimate
    good = allocate(items, code=estimate.code)
    assert good is not None, "without limits there is always one"
    estimate = estimate.weighed(good, problem.weigh(good, progress))
    small = allocate(items, Limits(), "bytes", estimate.code)
    assert small is not None, "without limits there is always one"
    estimate = estimate.weighed(small, problem.weigh(small, progress))
    best = allocate(items, code=estimate.code)
    small = allocate(items, Limits(), "bytes", estimate.code)
    assert best is not None and small is not None, "as above"
    found = [small]
    for i in range(1, steps):
        progress("allocate", i, steps)
        room = math.ceil(small.bytes + (best.bytes - small.bytes) * i / steps)
        found.append(allocate(items, Limits(bytes=room), "damage", estimate.code) or small)
    points = [_point(one, problem, estimate) for one in (*found, best)]
    return Frontier(_undominated(points), _uniform(problem, estimate))


def _undominated(points: list[Point]) -> tuple[Point, ...]:
    """In order of size, those of less damage than all smaller ones."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: (one.bytes, one.damage)):
        if not kept or point.damage < kept[-1].damage:
            kept.append(point)
    return tuple(kept)


def _point(found: Allocation, problem: Problem, estimate: Estimate) -> Point:
    weights: dict[str, float] = {}
    head = ""
    for unit, text in zip(problem.sensitivity.units, found.formats, strict=True):
        if unit.kind == HEAD:
            head = text
        else:
            weights[text] = weights.get(text, 0) + unit.weights
    total = sum(weights.values()) or 1
    shares = {text: weights[text] / total for text in sorted(weights, key=lambda name: -weights[name])}
    share = estimate.share(found.damage) if estimate.nats else None
    return Point(estimate.size(found), estimate.shown(found.damage), share, shares, head)


def _uniform(problem: Problem, estimate: Estimate) -> dict[str, Point]:
    """Every linear in one format, head and embedding in that of the bits."""
    head = str(problem.options.bits.head)
    points: dict[str, Point] = {}
    formats = dict.fromkeys(choice.format for item in problem.items for choice in item.choices)
    for text in formats:
        picked = [_pick(item.choices, head if unit.kind == HEAD else text)
                  for unit, item in zip(problem.sensitivity.units, problem.items, strict=True)]  # fmt: skip
        if all(choice is not None for choice in picked):
            found = _sum([choice for choice in picked if choice is not None], estimate)
            points[text] = _point(found, problem, estimate)
    return points


def _pick(choices: Any, text: str) -> Any:
    return next((choice for choice in choices if choice.format == text and math.isfinite(choice.damage)), None)


def _sum(chosen: list[Any], estimate: Estimate) -> Allocation:
    from edgeq.budget.allocate import Item, total

    return total([Item((), (choice,)) for choice in chosen], [0] * len(chosen), estimate.code)
