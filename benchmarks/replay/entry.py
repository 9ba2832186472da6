"""Replays a walk over an entry, one region after another, with one thread and with more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgeq.lower.plan import Entry, Plan, Region
from edgeq.runtime.loader import Session
from edgeq.targets import Isa
from replay.expected import Finding
from replay.region import Checked, check_region, poison
from replay.step import Memory, Step


class Replay:
    """A plan beside the session that runs it.

    Args:
        session: the artifact. plan: the very plan it was made from. isa: the session's variant.
        offsets: where each tensor starts in the weights file, after its header.
        threads: how often each region is run: once for each number of threads.
    """

    def __init__(
        self, session: Session, plan: Plan, isa: Isa, offsets: Mapping[str, int], threads: Sequence[int] = (1, 2, 3)
    ) -> None:
        self.session, self.plan, self.isa, self.offsets, self.threads = session, plan, isa, offsets, threads
        self._arena, self._private, self._weights = session.arena(), session.private(), session.weights()

    def check(self, entry: str, tokens: Sequence[int]) -> Iterator[Finding]:
        """Findings of one walk of `entry` over tokens, which the session is then fed for good.

        The memory before it is what an ordinary walk would find, except that buffers hold NaN until they are written.
        """
        step = Step(np.asarray(tokens, np.int32), self.session.position, self.isa, self._weights, self.offsets)
        plan = next(e for e in self.plan.entries if e.name == entry)
        start = self._arena.copy()
        self.session.feed(tokens)
        logits = self.session.last_logits()
        self._arena[:] = start
        self._clear(plan)
        for number, region in enumerate(plan.regions):
            for finding in self._region(plan, number, region, step):
                yield replace(finding, where=f"{entry} {number} at {step.position}: {', '.join(region.modules)}")
        wrong = int((self._logits() != logits).sum())
        yield Finding("walk", "walk", "logits of regions against feed", "exact", len(logits), wrong=wrong)

    def _clear(self, entry: Entry) -> None:
        """NaN in every buffer that does not live on; entries share memory, so nothing else is in there."""
        for thread in range(max(self.threads)):
            memory = Memory(self._arena, self._private[thread])
            for buffer in entry.buffers:
                memory.bytes_of(buffer)[:] = 0xFF

    def _region(self, entry: Entry, number: int, region: Region, step: Step) -> Iterator[Finding]:
        """Run and check with one thread; then more threads must leave the same bits."""
        for thread in range(max(self.threads)):
            poison(region, Memory(self._arena, self._private[thread]))
        arena, private = self._arena.copy(), self._private[: max(self.threads)].copy()
        self._run(entry, number, step, 1)
        one = Memory(self._arena.copy(), self._private[0].copy())
        checked = check_region(region, step, Memory(arena, private[0]), one)
        yield from checked.findings
        for threads in self.threads:
            if threads > 1:
                self._arena[:], self._private[: len(private)] = arena, private
                self._run(entry, number, step, threads)
                yield self._same(region, checked, one, threads)
                yield from self._shares(region, step.of(0, threads), arena, private)

    def _run(self, entry: Entry, number: int, step: Step, threads: int) -> None:
        self.session.run_region(entry.name, number, step.tokens.tolist(), step.position, threads)

    def _same(self, region: Region, checked: Checked, one: Memory, threads: int) -> Finding:
        """Every checked byte of the arena, and of private work that each thread does for itself, as with one thread."""
        wrong = int(((self._arena != one.arena) & checked.arena).sum())
        own = checked.private.copy()
        for call in region.calls:
            for buffer in call.writes:
                if buffer.private and call.split.kind != "private":
                    own[buffer.offset : buffer.offset + buffer.bytes] = False
        wrong += sum(int(((self._private[t] != one.private) & own).sum()) for t in range(threads))
        count = int(checked.arena.sum() + own.sum() * threads)
        return Finding("threads", "threads", f"bytes with {threads} threads", "exact", count, wrong=wrong)

    def _shares(self, region: Region, step: Step, arena: np.ndarray, private: np.ndarray) -> Iterator[Finding]:
        """Private results of a share of the work (the largest logit), thread by thread."""
        calls = [c for c in region.calls if c.split.kind == "units" and any(b.private and b.pinned for b in c.writes)]
        for call in calls:
            for thread in range(step.threads):
                after = Memory(self._arena, self._private[thread])
                before = Memory(self._arena, private[thread])
                found = check_region(Region([call]), step.of(thread, step.threads), before, after)
                yield from (f for f in found.findings if f.family != "memory")

    def _logits(self) -> np.ndarray:
        start = self.plan.logits.offset
        return self._arena[start : start + 4 * self.plan.vocab].view(np.float32)
