"""Which format every unit of a model gets: a multiple-choice knapsack, solved exactly by integer programming (HiGHS).

A binary variable for each unit and format, one of a unit's is 1. Damages, bytes and seconds add up. Code is paid once:
a kernel that several units share costs its bytes when the first of them is chosen, which a plain knapsack cannot say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from edgeq.errors import ToolchainError, UsageError

AMOUNTS = ("damage", "bytes", "seconds")
GAP = 1e-5  # of the objective: how far from the best the answer may be
TIE = 1e-7  # weight of what decides between equally good answers
TOLERANCE = 1.5e-6  # relative, of the solver's sums
TRIES = 4
LONGEST_S = 60.0


@dataclass(frozen=True)
class Choice:
    """A unit in one format.

    Attributes:
        damage: what it adds to the model's damage. bytes: of its weights. seconds: of its kernel, in one step.
        code: names of kernels that it needs (`allocate`'s `code` has their bytes).
    """

    format: str
    damage: float
    bytes: int
    seconds: float = 0.0
    code: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """What gets one format: Hugging Face names of its modules, and what there is to choose from."""

    modules: tuple[str, ...]
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Limits:
    """Sums that must not be exceeded; None: no limit. `bytes` counts code."""

    damage: float | None = None
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Allocation:
    """A format for each item, in their order, and the sums; `bytes` with the code that is needed."""

    formats: tuple[str, ...]
    damage: float
    bytes: int
    seconds: float
    code: frozenset[str] = field(default=frozenset())


def allocate(
    items: Sequence[Item],
    limits: Limits = Limits(),
    least: str = "damage",
    code: Mapping[str, int] | None = None,
) -> Allocation | None:
    """The allocation within `limits` with the least `damage`, `bytes` or `seconds`; None where there is none.

    Of equally good ones, that of fewer bytes (of less damage, where bytes are minimised) is taken.

    Args:
        items: each with at least one choice of finite damage. code: bytes of each kernel named by the choices.

    Raises:
        UsageError: an item without choices. ToolchainError: the solver failed.
    """
    if least not in AMOUNTS:
        raise ValueError(f"least={least!r}: one of {', '.join(AMOUNTS)}")
    usable = [_finite(item) for item in items]
    code = code or {}
    tight = limits
    for _ in range(TRIES):
        picked = _solve(usable, tight, least, code)
        if picked is None:
            return None
        found = total(usable, picked, code)
        if within(found, limits):
            return found
        tight = _tightened(tight, limits, found)
    raise ToolchainError("the solver's answers stay outside the limits by its own rounding; report this")


def total(items: Sequence[Item], picked: Sequence[int], code: Mapping[str, int] | None = None) -> Allocation:
    """The sums of the choices of those numbers, one an item."""
    chosen = [item.choices[i] for item, i in zip(items, picked, strict=True)]
    needed = frozenset(name for choice in chosen for name in choice.code)
    return Allocation(
        tuple(choice.format for choice in chosen),
        math.fsum(choice.damage for choice in chosen),
        sum(choice.bytes for choice in chosen) + sum((code or {}).get(name, 0) for name in needed),
        math.fsum(choice.seconds for choice in chosen),
        needed,
    )


def within(found: Allocation, limits: Limits) -> bool:
    """Whether all sums are inside the limits, exactly."""
    pairs = ((getattr(found, name), getattr(limits, name)) for name in AMOUNTS)
    return all(limit is None or value <= limit for value, limit in pairs)


def _finite(item: Item) -> Item:
    choices = tuple(choice for choice in item.choices if math.isfinite(choice.damage))
    if not choices:
        raise UsageError(f"{', '.join(item.modules)}: every format breaks it: nothing to choose from")
    return replace(item, choices=choices)


def _tightened(tight: Limits, limits: Limits, found: Allocation) -> Limits:
    """What was exceeded, lowered by as much and by the solver's own tolerance."""
    changes: dict[str, Any] = {}
    for name in AMOUNTS:
        limit, value = getattr(limits, name), getattr(found, name)
        if limit is not None and value > limit:
            changes[name] = getattr(tight, name) - max(value - limit, TOLERANCE * limit)
    return replace(tight, **changes)


def _solve(items: Sequence[Item], limits: Limits, least: str, code: Mapping[str, int]) -> list[int] | None:
    """The number of each item's choice; None where the solver finds the limits infeasible."""
    import highspy

    solver = _quiet_solver()
    picks = [[solver.addBinary() for _ in item.choices] for item in items]
    for row in picks:
        solver.addConstr(sum(row[1:], row[0] * 1) == 1)
    paid = _code_variables(solver, items, picks, code)
    sums = {name: _sum(name, items, picks, paid, code) for name in AMOUNTS}
    for name in AMOUNTS:
        limit = getattr(limits, name)
        if limit is not None and not _limit(solver, sums[name], limit):
            return None
    second = "damage" if least == "bytes" else "bytes"
    solver.minimize(_scaled(sums[least], 1.0) + _scaled(sums[second], TIE))
    status = solver.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        return None
    values = solver.getSolution().col_value
    if status not in (highspy.HighsModelStatus.kOptimal, highspy.HighsModelStatus.kTimeLimit) or not values:
        raise ToolchainError(f"the solver stopped without an answer: {solver.modelStatusToString(status)}")
    return [max(range(len(row)), key=lambda i, row=row: values[row[i].index]) for row in picks]  # type: ignore[misc]


def _quiet_solver() -> Any:
    import highspy

    solver = highspy.Highs()
    solver.silent()
    options = {"threads": 1, "random_seed": 0, "mip_rel_gap": GAP, "time_limit": LONGEST_S, "mip_abs_gap": 0.0}
    for name, value in options.items():
        solver.setOptionValue(name, value)
    return solver


def _code_variables(
    solver: Any, items: Sequence[Item], picks: list[list[Any]], code: Mapping[str, int]
) -> dict[str, Any]:
    """Kernel -> a variable that is 1 as soon as a choice that needs it is taken."""
    paid: dict[str, Any] = {}
    for item, row in zip(items, picks, strict=True):
        for choice, pick in zip(item.choices, row, strict=True):
            for name in choice.code:
                if code.get(name):
                    if name not in paid:
                        paid[name] = solver.addBinary()
                    solver.addConstr(pick - paid[name] <= 0)
    return paid


Terms = list[tuple[float, Any]]


def _sum(
    name: str, items: Sequence[Item], picks: list[list[Any]], paid: dict[str, Any], code: Mapping[str, int]
) -> Terms:
    terms = [
        (float(getattr(choice, name)), pick)
        for item, row in zip(items, picks, strict=True)
        for choice, pick in zip(item.choices, row, strict=True)
    ]
    return terms + ([(float(code[key]), variable) for key, variable in paid.items()] if name == "bytes" else [])


def _limit(solver: Any, terms: Terms, limit: float) -> bool:
    """Add `sum <= limit` in units of the limit; False when no sum of positive terms can be that small."""
    if limit < 0:
        return False
    unit = limit or max((value for value, _ in terms), default=1.0) or 1.0
    solver.addConstr(_expression([(value / unit, x) for value, x in terms]) <= limit / unit)
    return True


def _scaled(terms: Terms, weight: float) -> Any:
    """The sum, in units of the largest term, times a weight."""
    unit = max((abs(value) for value, _ in terms), default=1.0) or 1.0
    return _expression([(value / unit * weight, x) for value, x in terms])


def _expression(terms: Terms) -> Any:
    import highspy

    return highspy.Highs.qsum(x * value for value, x in terms)
