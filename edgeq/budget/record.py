"""The section `budget` of edgeq.json: what was promised, what is kept, what was predicted, and by what means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from edgeq.budget.allocate import Allocation
from edgeq.budget.check import Seen
from edgeq.budget.estimate import Estimate
from edgeq.budget.goal import Goal
from edgeq.budget.held_out import Increase
from edgeq.budget.problem import Problem

DIGITS = 5
SPARE = 256  # bytes of a record that may turn out longer than expected

Tried = tuple[Allocation, Seen, bool]


def record_of(
    goal: Goal, problem: Problem, found: Allocation, estimate: Estimate, seen: Seen, tries: Sequence[Tried]
) -> dict[str, Any]:
    """Sizes in bytes, seconds of a token or run, shares of the float model's perplexity (0.02: 2 % more)."""
    sensitivity = problem.sensitivity
    predicted: dict[str, Any] = {"bytes": estimate.size(found), "damage": _short(estimate.shown(found.damage))}
    if estimate.nats:
        predicted["perplexity_increase"] = _short(estimate.share(found.damage))
    if goal.seconds is not None:
        predicted["seconds"] = _short(estimate.latency(found))
    return {
        "promised": goal.to_json(),
        "measured": _seen(seen) | _text(problem, seen) | _latency(goal, problem, found, estimate, seen),
        "predicted": predicted,
        "sensitivity": {"method": sensitivity.method, "unit": sensitivity.unit, "tokens": sensitivity.tokens},
        "compiles": [
            {**_seen(one), "damage": _short(estimate.shown(of.damage)), "kept": is_it} for of, one, is_it in tries
        ],
    }


def record_bytes(goal: Goal, problem: Problem, found: Allocation, estimate: Estimate) -> int:
    """What the section will add to edgeq.json."""
    number = 1.23456e-05
    seen = Seen(10**9, Increase(12345.6, 12345.6, number, number), number if goal.seconds else None, "measured here")
    like = record_of(goal, problem, found, estimate, seen, [(found, seen, True)] * 3)
    return len(json.dumps({"budget": like}, indent=1)) + len(json.dumps(like, indent=1).splitlines()) + SPARE


def _latency(goal: Goal, problem: Problem, found: Allocation, estimate: Estimate, seen: Seen) -> dict[str, Any]:
    """Seconds of a target that is not here are the model's."""
    if goal.seconds is None or seen.seconds is not None:
        return {}
    source = problem.times.source if problem.times else "modelled"
    return {"seconds": _short(estimate.latency(found)), "seconds_source": source}


def _seen(seen: Seen) -> dict[str, Any]:
    found: dict[str, Any] = {"bytes": seen.bytes}
    if seen.increase is not None:
        found |= {
            "perplexity": _short(seen.increase.perplexity),
            "original_perplexity": _short(seen.increase.original),
            "perplexity_increase": _short(seen.increase.share),
            "perplexity_increase_error": _short(seen.increase.error),
        }
    if seen.seconds is not None:
        found |= {"seconds": _short(seen.seconds), "seconds_source": seen.source}
    return found


def _text(problem: Problem, seen: Seen) -> dict[str, Any]:
    if problem.scored is None or seen.increase is None:
        return {}
    return {"text": problem.scored.text.description, "tokens": problem.scored.text.tokens}


def _short(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
