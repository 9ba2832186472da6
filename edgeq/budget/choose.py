"""The allocation for a goal, its bytes weighed; and what is nearest where there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from edgeq.budget.allocate import Allocation, Item, Limits, allocate
from edgeq.budget.amounts import percent_text, seconds_text, size_text
from edgeq.budget.estimate import Estimate
from edgeq.budget.goal import Goal
from edgeq.errors import BudgetError

Weigh = Callable[[Allocation], int]
"""Bytes of the whole artifact with an allocation."""
FILL = 0.99  # of a size: what an artifact should reach
ROUNDS = 5


def choose(items: Sequence[Item], goal: Goal, estimate: Estimate) -> Allocation | None:
    """The allocation of least damage within size and latency; with neither, of fewest bytes within the damage."""
    least = "bytes" if goal.bytes is None and goal.seconds is None else "damage"
    return allocate(items, estimate.limits(goal), least, estimate.code)


def choose_weighed(items: Sequence[Item], goal: Goal, estimate: Estimate, weigh: Weigh) -> tuple[Allocation, Estimate]:
    """`choose`, the estimate's bytes corrected by the plan's own until the size is met within a hundredth.

    Raises:
        BudgetError: no allocation keeps the goal; the message has the nearest that one does.
    """
    best: tuple[Allocation, Estimate] | None = None
    for _ in range(ROUNDS):
        found = choose(items, goal, estimate)
        if found is None:
            break
        estimate = _with_bytes(estimate, found, weigh(found))
        fits = goal.bytes is None or estimate.size(found) <= goal.bytes
        if fits and (best is None or found.damage < best[0].damage or goal.bytes is None):
            best = found, estimate
        if fits and (goal.bytes is None or filled(items, goal, found, estimate)):
            break
    if best is None:
        raise infeasible(items, goal, estimate, weigh)
    return best


def filled(items: Sequence[Item], goal: Goal, found: Allocation, estimate: Estimate) -> bool:
    """Whether a size is used to a hundredth, or nothing that costs more bytes would do less damage."""
    if goal.bytes is None or estimate.size(found) >= FILL * goal.bytes:
        return True
    without_size = Limits(None, None, estimate.limits(goal).seconds)
    most = allocate(items, without_size, "damage", estimate.code)
    return most is not None and found.damage <= most.damage * (1 + 1e-6)


def infeasible(items: Sequence[Item], goal: Goal, estimate: Estimate, weigh: Weigh) -> BudgetError:
    """Says what the smallest and the fastest artifacts are."""
    said, near = [], []
    if goal.bytes is not None:
        seconds = estimate.limits(goal).seconds
        small = allocate(items, Limits(seconds=seconds), "bytes", estimate.code)
        in_time = small is not None and goal.seconds is not None
        small = small or allocate(items, Limits(), "bytes", estimate.code)
        assert small is not None, "without limits there is always one"
        size = weigh(small)
        within_time = " in that time" if in_time else ""
        said.append(f"the smallest artifact{within_time} is {size_text(size)} ({_rest(small, estimate, goal)})")
        near.append(f"--target-size {_rounded_up(size)}")
    if goal.seconds is not None:
        fast = allocate(items, Limits(bytes=estimate.limits(goal).bytes), "seconds", estimate.code)
        fast = fast or allocate(items, Limits(), "seconds", estimate.code)
        assert fast is not None, "without limits there is always one"
        said.append(f"the fastest takes {seconds_text(estimate.latency(fast))} ({_rest(fast, estimate, goal)})")
        near.append(f"--target-latency {seconds_text(estimate.latency(fast) * 1.02).replace(' ', '')}")
    if not said:
        good = allocate(items, Limits(), "damage", estimate.code)
        assert good is not None, "without limits there is always one"
        share = estimate.share(good.damage)
        said.append(f"the best artifact of 8 bits is predicted at {percent_text(share)}")
        near.append(f"--max-ppl-increase {math.ceil(share * 1000) / 10:g}%")
    return BudgetError(f"{goal} cannot be kept: {'; '.join(said)}; the nearest: {' or '.join(near)}")


def _with_bytes(estimate: Estimate, found: Allocation, size: int) -> Estimate:
    return replace(estimate, bytes=size - found.bytes)


def _rest(found: Allocation, estimate: Estimate, goal: Goal) -> str:
    share = f"perplexity {percent_text(estimate.share(found.damage))}" if estimate.nats else f"error {found.damage:.3g}"
    time = f", {seconds_text(estimate.latency(found))}" if goal.seconds is not None else ""
    return f"predicted {share}{time}"


def _rounded_up(size: int) -> str:
    """A size that a later compile keeps: two decimals up, with room for what reports vary by."""
    return f"{math.ceil(size * 1.005 / 1e4) / 100:.2f}MB" if size >= 10**6 else f"{math.ceil(size * 1.02 / 1e3)}kB"
