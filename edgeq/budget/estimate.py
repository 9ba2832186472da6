"""From an allocation to what the artifact will be, corrected by what earlier artifacts were."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgeq.budget.allocate import Allocation, Limits
from edgeq.budget.check import Seen
from edgeq.budget.goal import Goal
from edgeq.budget.weigh import Weighed

CAUTION = 0.97  # of a corrected damage: what measured less than predicted once need not again
BLAME = (0.02, 50.0)  # bounds of the ratio of measured to predicted damage


@dataclass(frozen=True)
class Estimate:
    """What allocations leave out.

    Attributes:
        bytes: of the folder, besides weights of the units and their kernels' code. seconds: besides their kernels.
        blame: measured over predicted rise of the loss. Damages of single units are added up, which is a model:
            errors of different units may cancel or compound, and passes lower them.
        code: bytes of kernels, as `allocate` takes them.
        known: kernels of `code` that some plan was weighed with.
        nats: whether damages are of a language model's loss; else relative errors, which say nothing of perplexity.
    """

    bytes: int = 0
    seconds: float = 0.0
    blame: float = 1.0
    code: Mapping[str, int] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    nats: bool = True

    def limits(self, goal: Goal) -> Limits:
        """What is left to allocate. Damage is limited where nothing else is: otherwise the least there is, is taken."""
        size = None if goal.bytes is None else goal.bytes - self.bytes
        seconds = None if goal.seconds is None else goal.seconds - self.seconds
        alone = size is None and seconds is None and goal.increase is not None
        return Limits(math.log1p(goal.increase or 0.0) / self.blame if alone else None, size, seconds)

    def size(self, found: Allocation) -> int:
        """Bytes of the folder."""
        return found.bytes + self.bytes

    def shown(self, damage: float) -> float:
        """A sum of damages in the sensitivity's own unit: relative errors are added up as squares."""
        return damage if self.nats else math.sqrt(damage)

    def share(self, damage: float) -> float:
        """How much perplexity rises: 0.02 is 2 %. Exact for damages that are the loss's rise; see `blame`."""
        return math.expm1(damage * self.blame)

    def latency(self, found: Allocation) -> float:
        """Seconds of a step."""
        return found.seconds + self.seconds

    def weighed(self, found: Allocation, plan: Weighed) -> Estimate:
        """With an allocation's plan weighed: the bytes of its kernels, and what is left of the folder's."""
        code = {**self.code, **plan.kernels}
        known = self.known | set(plan.kernels)
        return replace(self, code=code, bytes=plan.total - priced(found, self.code, code).bytes, known=known)

    def corrected(self, found: Allocation, seen: Seen) -> Estimate:
        """What an artifact that was compiled from an allocation teaches of the next."""
        changed = replace(self, bytes=seen.bytes - found.bytes)
        if seen.seconds is not None:
            changed = replace(changed, seconds=seen.seconds - found.seconds)
        if seen.increase is not None and found.damage > 0:
            rise = math.log1p(max(seen.increase.share, 0.0)) / found.damage / CAUTION
            changed = replace(changed, blame=min(max(rise, BLAME[0]), BLAME[1]))
        return changed


def priced(found: Allocation, before: Mapping[str, int], code: Mapping[str, int]) -> Allocation:
    """The same allocation with other bytes of code."""
    more = sum(code.get(name, 0) - before.get(name, 0) for name in found.code)
    return replace(found, bytes=found.bytes + more)
