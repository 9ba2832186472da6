"""A compile within a budget: formats are chosen, compiled, and what was promised is checked on the finished artifact.

What an artifact turns out to be corrects the estimate, and another is compiled, at most twice.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from edgeq.artifact import manifest as manifests
from edgeq.budget.allocate import Allocation, allocate
from edgeq.budget.amounts import percent_text, seconds_text, size_text
from edgeq.budget.check import Seen, measure, size_of
from edgeq.budget.choose import FILL, choose, filled
from edgeq.budget.estimate import Estimate
from edgeq.budget.goal import Goal
from edgeq.budget.nearest import percent_up, seconds_up, size_up
from edgeq.budget.problem import Problem, pose
from edgeq.budget.record import record_bytes, record_of
from edgeq.budget.weigh import Weighed
from edgeq.compiling.compiler import write_artifact
from edgeq.compiling.options import Options
from edgeq.compiling.prepared import prepare
from edgeq.errors import BudgetError

Progress = Callable[[str, int, int], None]
COMPILES = 3  # the first, and two that are corrected
CLOSE = 0.7  # of a perplexity that is promised alone: below, a smaller artifact is worth another compile


@dataclass(frozen=True)
class Try:
    """A compiled artifact: its allocation, the estimate it was chosen with, what it is, where it lies."""

    found: Allocation
    estimate: Estimate
    seen: Seen
    folder: Path


def compile_within(folder: Path, options: Options, goal: Goal, progress: Progress, journal: Path | None = None) -> None:
    """`compile_into`, with a format for each linear that the goal is kept with; edgeq.json has a section `budget`.

    Raises:
        BudgetError: it cannot be kept; the message has the nearest that can.
        UsageError: a promise, or bits, that mean nothing here. Otherwise as `compile_into`.
    """
    problem = pose(prepare(options, progress), options, goal, progress)
    tries: list[Try] = []
    estimate = problem.estimate
    for number in range(COMPILES):
        try:
            found, estimate = _next(problem, goal, estimate, tries, progress)
        except BudgetError:
            if not tries:
                raise
            break
        if any(found.formats == one.found.formats for one in tries):
            break
        tries.append(_try(problem, goal, found, estimate, folder / f"try-{number}", progress, journal))
        if _settled(problem, goal, tries[-1]):
            break
        estimate = estimate.corrected(found, tries[-1].seen)
    best = _best(goal, tries)
    if best is None:
        raise _missed(problem, goal, tries)
    _keep(folder, best, problem, goal, tries)


def _next(
    problem: Problem, goal: Goal, estimate: Estimate, tries: list[Try], progress: Progress
) -> tuple[Allocation, Estimate]:
    """The allocation to compile; once one was compiled, what reports take is known from it."""
    more = tries[-1].seen.bytes - problem.weigh(tries[-1].found, progress).total if tries else 0

    def weigh(found: Allocation) -> Weighed:
        weighed = problem.weigh(found, progress)
        return replace(weighed, reports=weighed.reports + more)

    return choose(problem.items, goal, estimate, weigh)


def _try(
    problem: Problem, goal: Goal, found: Allocation, estimate: Estimate, place: Path, progress: Progress,
    journal: Path | None,
) -> Try:  # fmt: skip
    options = problem.options_for(found)
    place.mkdir()
    written = write_artifact(place, options, problem.prepared.copies(), progress, _own_journal(journal, options))
    size = size_of(place, record_bytes(goal, problem, found, estimate))
    if goal.bytes is not None and size > goal.bytes:
        return Try(found, estimate, Seen(size), place)
    return Try(found, estimate, measure(place, size, written, options, goal, problem.scored, progress), place)


def _own_journal(journal: Path | None, options: Options) -> Path | None:
    """Decisions hold for the formats they were measured with."""
    if journal is None:
        return None
    text = f"{options.bits} {sorted(options.formats.items())}"
    own = journal / hashlib.sha256(text.encode()).hexdigest()[:16]
    own.mkdir(exist_ok=True)
    return own


def kept(goal: Goal, seen: Seen) -> bool:
    """Whether everything that was promised and measured holds."""
    if goal.bytes is not None and seen.bytes > goal.bytes:
        return False
    if goal.increase is not None and (seen.increase is None or seen.increase.share > goal.increase):
        return False
    return goal.seconds is None or seen.seconds is None or seen.seconds <= goal.seconds


def _settled(problem: Problem, goal: Goal, one: Try) -> bool:
    """Kept, and near enough to what was asked for."""
    if not kept(goal, one.seen):
        return False
    if goal.bytes is None and goal.seconds is None:
        return one.seen.increase is not None and one.seen.increase.share >= CLOSE * (goal.increase or 0.0)
    actual = one.estimate.corrected(one.found, one.seen)
    return one.seen.bytes >= FILL * (goal.bytes or 0) or filled(problem.items, goal, one.found, actual)


def _best(goal: Goal, tries: list[Try]) -> Try | None:
    """Of those that keep the goal: of fewest bytes where perplexity alone is promised, else of least damage."""
    good = [one for one in tries if kept(goal, one.seen)]
    if goal.bytes is None and goal.seconds is None:
        return min(good, key=lambda one: one.seen.bytes, default=None)
    return min(good, key=lambda one: one.found.damage, default=None)


def _missed(problem: Problem, goal: Goal, tries: list[Try]) -> BudgetError:
    """What was compiled instead, and what would be enough."""
    last, seen = tries[-1], tries[-1].seen
    estimate = last.estimate.corrected(last.found, seen)
    near = []
    if goal.increase is not None and seen.increase is not None and seen.increase.share > goal.increase:
        near.append(f"--max-ppl-increase {percent_up(seen.increase.share)}")
        limits = estimate.limits(Goal(increase=goal.increase))
        enough = allocate(problem.items, limits, "bytes", estimate.code)
        if enough is not None and goal.bytes is not None:
            near.append(f"--target-size {size_up(estimate.size(enough))} (predicted)")
    if goal.seconds is not None and seen.seconds is not None and seen.seconds > goal.seconds:
        near.append(f"--target-latency {seconds_up(seen.seconds)}")
    if goal.bytes is not None and seen.bytes > goal.bytes:
        near.append(f"--target-size {size_up(seen.bytes)}")
    said = "; ".join(map(_said, tries))
    return BudgetError(f"{goal} cannot be kept: compiled {said}; the nearest: {' or '.join(near)}")


def _said(one: Try) -> str:
    parts = [size_text(one.seen.bytes)]
    if one.seen.increase is not None:
        parts.append(f"perplexity {percent_text(one.seen.increase.share)}")
    if one.seen.seconds is not None:
        parts.append(seconds_text(one.seen.seconds))
    return ", ".join(parts)


def _keep(folder: Path, best: Try, problem: Problem, goal: Goal, tries: list[Try]) -> None:
    """Move the artifact's files into the folder, and say in edgeq.json what was promised and what is kept."""
    for item in list(best.folder.iterdir()):
        item.rename(folder / item.name)
    for one in tries:
        shutil.rmtree(one.folder)
    seen = [(one.found, one.seen, one is best) for one in tries]
    record = record_of(goal, problem, best.found, best.estimate, best.seen, seen)
    manifests.write(replace(manifests.read(folder), budget=record), folder)
