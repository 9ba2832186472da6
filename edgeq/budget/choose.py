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
ROUNDS = 8


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
    """The room for weights and code that fills the size: kernels' bytes are known only once a plan had them."""
    size, seconds = goal.bytes or 0, estimate.limits(goal).seconds
    best: Chosen | None = None
    less = 0
    for _ in range(ROUNDS):
        room = size - estimate.bytes - less
        found = allocate(items, Limits(bytes=room, seconds=seconds), "damage", estimate.code)
        found = found or allocate(items, Limits(seconds=seconds), "bytes", estimate.code)
        if found is None:
            break
        chosen = found, estimate = _weighed(found, estimate, weigh)
        if estimate.size(found) > size:
            less += (estimate.size(found) - size) // 16
            continue
        less = 0
        best = min(best or chosen, chosen, key=lambda one: one[0].damage)
        if filled(items, goal, found, estimate):
            break
    if best is None:
        raise infeasible(items, goal, estimate, weigh)
    return best


def filled(items: Sequence[Item], goal: Goal, found: Allocation, estimate: Estimate) -> bool:
    """Whether a size is used to a hundredth, or nothing that costs more bytes would do less damage."""
    if goal.bytes is None or estimate.size(found) >= FILL * goal.bytes:
        return True
    most = allocate(items, Limits(seconds=estimate.limits(goal).seconds), "damage", estimate.code)
    return most is not None and found.damage <= most.damage * (1 + 1e-6)


def _weighed(found: Allocation, estimate: Estimate, weigh: Weigh) -> Chosen:
    after = estimate.weighed(found, weigh(found))
    return priced(found, estimate.code, after.code), after
