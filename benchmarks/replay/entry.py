"""Replays a walk over an entry, one region after another, with one thread and with more."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgeq.lower.plan import Entry, Plan, Region
from edgeq.runtime.loader import Session
from edgeq.targets import Isa
from replay.expected import Finding
from replay.memory import Memory, spans_of
from replay.region import check_calls, check_region, poison
from replay.step import Step


class Replay:
    """A plan beside the session that runs it.

    Args:
        session: the artifact. plan: the very plan it was made from. isa: the session's variant.
        offsets: where each tensor starts in the weights file, after its header.
        threads: each region is run once for each of these numbers of threads; the first is 1.
    """

    def __init__(
        self, session: Session, plan: Plan, isa: Isa, offsets: Mapping[str, int], threads: Sequence[int] = (1, 2, 3)
    ) -> None:
        self.session, self.plan, self.isa, self.offsets, self.threads = session, plan, isa, offsets, threads
        arena, private = session.arena(), session.private()[: max(threads)]
        self._weights = session.weights()
        self._live = [Memory(arena, own) for own in private]  # the session's, thread by thread
        arena, private = arena.copy(), private.copy()
        self._before = [Memory(arena, own) for own in private]  # the same before a region runs

    def check(self, entry: str, tokens: Sequence[int]) -> Iterator[Finding]:
        """Findings of one walk of `entry` over tokens, which the session is then fed for good.

        The memory before it is what an ordinary walk would find, except that buffers hold NaN until they are written.
        """
        step = Step(np.asarray(tokens, np.int32), self.session.position, self.isa, self._weights, self.offsets)
        plan = next(e for e in self.plan.entries if e.name == entry)
        start = self._live[0].arena.copy()
        self.session.feed(tokens)
        logits = self.session.last_logits()
        self._live[0].arena[:] = start
        self._clear(plan)
        for number, region in enumerate(plan.regions):
            for finding in self._region(plan, number, region, step):
                yield replace(finding, where=f"{entry} {number} at {step.position}: {', '.join(region.modules)}")
        wrong = int((self._logits() != logits).sum())
        yield Finding("walk", "walk", "logits of regions against feed", "exact", len(logits), wrong=wrong)

    def _clear(self, entry: Entry) -> None:
        """NaN in every buffer that does not live on; entries share memory, so nothing else is in there."""
        for live, before in zip(self._live, self._before, strict=True):
            for buffer in entry.buffers:
                live.bytes_of(buffer)[:] = 0xFF
            before.private[:] = live.private
        self._before[0].arena[:] = self._live[0].arena

    def _region(self, entry: Entry, number: int, region: Region, step: Step) -> Iterator[Finding]:
        """Run and check with one thread; then more threads must leave the same bits."""
        for memory in (*self._live, *self._before):
            poison(region, memory)
        spans = spans_of(region)
        self._run(entry, number, step, 1)
        checked = check_region(region, step, self._before[0], self._live[0])
        yield from checked.findings
        one = self._live[0].sparse(spans)
        for threads in self.threads[1:]:
            for live, before in zip(self._live, self._before, strict=True):
                live.put(before, spans)
            self._run(entry, number, step, threads)
            yield self._same(region, checked.covered, one, threads)
            yield from self._shares(region, step, threads)
        for live, before in zip(self._live, self._before, strict=True):
            before.put(live, spans)

    def _run(self, entry: Entry, number: int, step: Step, threads: int) -> None:
        self.session.run_region(entry.name, number, step.tokens.tolist(), step.position, threads)

    def _same(self, region: Region, covered: Memory, one: Memory, threads: int) -> Finding:
        """Every checked byte of the arena, and of private work that each thread does for itself, as with one thread."""
        for call in region.calls:
            for buffer in call.writes:
                if buffer.private and call.split.kind != "private":
                    covered.bytes_of(buffer)[:] = False
        spans, live = spans_of(region), self._live[:threads]
        wrong = sum(memory.differing(one, covered, spans) for memory in live)
        wrong += sum(live.differing_outside(old, spans) for live, old in zip(self._live, self._before, strict=True))
        count = covered.count(spans) * threads
        return Finding("threads", "threads", f"bytes with {threads} threads", "exact", count, wrong=wrong)

    def _shares(self, region: Region, step: Step, threads: int) -> Iterator[Finding]:
        """Private results of a share of the work (the largest logit), thread by thread."""
        calls = [c for c in region.calls if c.split.kind == "units" and any(b.private and b.pinned for b in c.writes)]
        for call, thread in itertools.product(calls, range(threads)):
            live = self._live[thread]
            yield from check_calls(Region([call]), step.of(thread, threads), live, live).findings

    def _logits(self) -> np.ndarray:
        start = self.plan.logits.offset
        return self._live[0].arena[start : start + 4 * self.plan.vocab].view(np.float32)
