"""The allocation for a goal, its bytes weighed on the plan itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeq.budget.allocate import Allocation, Item, Limits, allocate
from edgeq.budget.estimate import Estimate, priced
from edgeq.budget.goal import Goal
from edgeq.budget.nearest import infeasible
from edgeq.budget.weigh import Weighed

Weigh = Callable[[Allocation], Weighed]
"""What the whole artifact with an allocation takes."""
Chosen = tuple[Allocation, Estimate]
FILL = 0.99  # of a size: what an artifact should reach
AIM = 0.996  # what its plan should, so that reports, which are estimated, do not spoil it
ROUNDS = 8
MOST_NONE = 2  # rounds in which nothing seems to fit: guessed code may be too large


def choose(items: Sequence[Item], goal: Goal, estimate: Estimate, weigh: Weigh) -> Chosen:
    """The allocation to compile, and the estimate with its weighed bytes.

    Of least damage within size and latency; with neither, of fewest bytes whose predicted damage is within the
    perplexity, or of least damage where none is.

    Raises:
        BudgetError: no allocation keeps size and latency; the message has the nearest that does.
    """
    if goal.bytes is not None:
        return _within_size(items, goal, estimate, weigh)
    limits = estimate.limits(goal)
    if goal.seconds is not None:
        found = allocate(items, limits, "damage", estimate.code)
    else:
        found = allocate(items, limits, "bytes", estimate.code) or allocate(items, code=estimate.code)
    if found is None:
        raise infeasible(items, goal, estimate, weigh)
    return _weighed(found, estimate, weigh)


def _within_size(items: Sequence[Item], goal: Goal, estimate: Estimate, weigh: Weigh) -> Chosen:
    """The room for weights and code that fills the size: kernels' bytes are known only once a plan had them.

    What overshoots teaches the next round; where rounds repeat themselves, kernels that were never weighed may be
    smaller than they were guessed, and a little more room lets them in.
    """
    size, seconds = goal.bytes or 0, estimate.limits(goal).seconds
    best: Chosen | None = None
    before, extra, none = None, 0, 0
    for _ in range(ROUNDS):
        room = Limits(bytes=size - estimate.bytes + extra, seconds=seconds)
        found = allocate(items, room, "damage", estimate.code)
        none = none + (found is None)
        found = found or _smallest(items, seconds, estimate)
        if found is None or none > MOST_NONE:
            break
        chosen = found, estimate = _weighed(found, estimate, weigh)
        gap = size - estimate.size(found)
        repeated, before = found.formats == before, found.formats
        if gap < 0:
            extra = min(extra, 0) + (gap // 4 if repeated else 0)
            continue
        best = min(best or chosen, chosen, key=lambda one: one[0].damage)
        if gap <= (1 - AIM) * size or filled(items, goal, found, estimate, AIM):
            break
        extra = max(extra, 0) + gap if repeated else 0
    if best is None:
        raise infeasible(items, goal, estimate, weigh)
    return best


def _smallest(items: Sequence[Item], seconds: float | None, estimate: Estimate) -> Allocation | None:
    return allocate(items, Limits(seconds=seconds), "bytes", estimate.code)


def filled(items: Sequence[Item], goal: Goal, found: Allocation, estimate: Estimate, share: float = FILL) -> bool:
    """Whether that share of a size is used, or nothing that costs more bytes would do less damage."""
    if goal.bytes is None or estimate.size(found) >= share * goal.bytes:
        return True
    most = allocate(items, Limits(seconds=estimate.limits(goal).seconds), "damage", estimate.code)
    return most is not None and found.damage <= most.damage * (1 + 1e-6)


def _weighed(found: Allocation, estimate: Estimate, weigh: Weigh) -> Chosen:
    """Weighed, unless all its kernels were before: kernels are compiled for it, which takes seconds."""
    if found.code and found.code <= estimate.known:
        return found, estimate
    after = estimate.weighed(found, weigh(found))
    return priced(found, estimate.code, after.code), after
