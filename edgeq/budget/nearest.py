"""What to say of a goal that no allocation keeps: the smallest and the fastest artifacts that there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgeq.budget.allocate import Allocation, Item, Limits, allocate
from edgeq.budget.amounts import percent_text, seconds_text, size_text
from edgeq.budget.estimate import Estimate
from edgeq.budget.goal import Goal
from edgeq.budget.weigh import Weighed
from edgeq.errors import BudgetError

ROUNDS = 2
Weigh = Callable[[Allocation], Weighed]


def infeasible(items: Sequence[Item], goal: Goal, estimate: Estimate, weigh: Weigh) -> BudgetError:
    """The error, with predicted figures of the nearest points and the options that they are reached by."""
    said, near = [], []
    if goal.bytes is not None:
        limits = Limits(seconds=estimate.limits(goal).seconds)
        found = allocate(items, limits, "bytes", estimate.code)
        in_time = " in that time" if found is not None and goal.seconds is not None else ""
        small, size = _smallest(items, limits if found is not None else Limits(), estimate, weigh)
        said.append(f"the smallest artifact{in_time} is {size_text(size)} ({_predicted(small, estimate, goal)})")
        near.append(f"--target-size {size_up(size)}")
    if goal.seconds is not None:
        fast = allocate(items, Limits(bytes=estimate.limits(goal).bytes), "seconds", estimate.code)
        in_size = " of that size" if fast is not None and goal.bytes is not None else ""
        fast = fast or _any(items, "seconds", estimate)
        said.append(f"the fastest{in_size} ({_predicted(fast, estimate, goal)})")
        near.append(f"--target-latency {seconds_up(estimate.latency(fast))}")
    return BudgetError(f"{goal} cannot be kept: {'; '.join(said)}; the nearest: {' or '.join(near)}")


def _smallest(
    items: Sequence[Item], limits: Limits, estimate: Estimate, weigh: Weigh
) -> tuple[Allocation, int]:
    """The smallest artifact of some that are weighed, each chosen with what the ones before taught of code."""
    weighed: list[tuple[Allocation, int]] = []
    for _ in range(ROUNDS):
        found = allocate(items, limits, "bytes", estimate.code)
        if found is None or any(found.formats == other.formats for other, _ in weighed):
            break
        plan = weigh(found)
        weighed.append((found, plan.total))
        estimate = estimate.weighed(found, plan)
    return min(weighed, key=lambda one: one[1])


def _any(items: Sequence[Item], least: str, estimate: Estimate) -> Allocation:
    found = allocate(items, Limits(), least, estimate.code)
    assert found is not None, "without limits there is always one"
    return found


def _predicted(found: Allocation, estimate: Estimate, goal: Goal) -> str:
    error = f"error {estimate.shown(found.damage):.3g}"
    share = f"perplexity {percent_text(estimate.share(found.damage))}" if estimate.nats else error
    time = f", {seconds_text(estimate.latency(found))}" if goal.seconds is not None else ""
    return f"predicted {share}{time}"


def size_up(size: float) -> str:
    """As an option that a later compile keeps: rounded up, with room for what reports vary by."""
    return f"{math.ceil(size * 1.005 / 1e4) / 100:.2f}MB" if size >= 10**7 else f"{math.ceil(size * 1.02 / 1e3)}kB"


def seconds_up(seconds: float) -> str:
    """As an option, with room for what runs vary by."""
    return seconds_text(seconds * 1.03).replace(" ", "")


def percent_up(share: float) -> str:
    """As an option, rounded up to a tenth of a percent."""
    return f"{max(0, math.floor(share * 1000) + 1) / 10:g}%"
