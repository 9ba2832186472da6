"""Every region of prefill chunks and of decode steps at several positions, on the memory it really saw.

Integers are compared bit for bit (codes may round either way at a tie), floats with float64, relative to the largest
magnitude of their row. Each region runs with one thread and again with two and three, which must leave the same bits.
"""

from __future__ import annotations

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from replay.entry import Replay
from replay.expected import FLOAT_TOLERANCE, Finding
from replay.rebuild import rebuild

from edgeq.runtime.loader import Session
from verification.report import Bar, Report, say


@dataclass
class Total:
    """Findings of one output of one kernel family, added up."""

    rule: str
    calls: int = 0
    count: int = 0
    error: float = 0.0
    wrong: int = 0
    ties: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, f: Finding) -> None:
        """One more."""
        self.calls, self.count, self.ties = self.calls + 1, self.count + f.count, self.ties + f.ties
        self.error, self.wrong = max(self.error, f.error), self.wrong + f.wrong
        if not f.ok and len(self.examples) < 3:
            self.examples.append(f"{f.where}: {f.kernel} {f.param}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of this check."""
    parser.add_argument("--model", help="where the model is now, if not where it was compiled from")
    parser.add_argument("--variant", help="instruction-set variant; default: the best")


def run(options: argparse.Namespace) -> Report:
    """Replay and add up."""
    plan = rebuild(options.artifact, options.model)
    with Session(options.artifact, threads=1, variant=options.variant) as session:
        variant = session.info.variant
        replay = Replay(session, plan.plan, plan.isa(variant), plan.offsets)
        totals = add_up(findings(replay))
    return report(f"{options.artifact}, {variant}: regions against numpy", totals)


def findings(replay: Replay) -> Iterator[Finding]:
    """A decode step at the start, chunks whole and ragged, decode steps between them, in the middle and at the end."""
    info = replay.session.info
    text = itertools.cycle(np.random.default_rng(0).integers(0, info.vocab, 4096).tolist())
    replay.session.feed(list(itertools.islice(text, info.context)))  # the caches are full of another text
    replay.session.rewind(0)
    middle, end = info.context * 3 // 4, info.context - 1
    steps = [("decode", 1, 0), ("prefill", info.chunk * 3 // 10, 1), ("decode", 1, -1), ("prefill", info.chunk, -1)]
    steps += [("decode", 1, middle), ("prefill", 17, -1), ("decode", 1, end)]
    for entry, rows, position in steps:
        if position > replay.session.position:
            replay.session.feed(list(itertools.islice(text, position - replay.session.position)))
        say(f"{entry}: {rows} rows at {replay.session.position}")
        yield from replay.check(entry, list(itertools.islice(text, rows)))


def add_up(found: Iterable[Finding]) -> dict[tuple[str, str], Total]:
    """(family, parameter) -> total."""
    totals: dict[tuple[str, str], Total] = {}
    for f in found:
        totals.setdefault((f.family, f.param), Total(f.rule)).add(f)
    return totals


def report(title: str, totals: dict[tuple[str, str], Total]) -> Report:
    """The table and its bars."""
    columns = ["kernel", "output", "compared", "calls", "values", "max error", "wrong", "ties"]
    rows = [
        [family, param, t.rule, t.calls, t.count, f"{t.error:.1e}" if t.rule == "float" else "", t.wrong, t.ties]
        for (family, param), t in sorted(totals.items())
    ]
    of = defaultdict(list)
    for total in totals.values():
        of[total.rule].append(total)
    error, wrong = max(t.error for t in of["float"]), sum(t.wrong for ts in of.values() for t in ts)
    integers = sum(t.count for rule in ("exact", "codes") for t in of[rule])
    bars = [
        Bar(f"floats within {FLOAT_TOLERANCE:g} of float64", f"{error:.1e}", error <= FLOAT_TOLERANCE),
        Bar("integers, bits and threads equal", f"{wrong} of {integers:,} differ", wrong == 0),
    ]
    bars += [Bar("found", example, False) for ts in of.values() for t in ts for example in t.examples]
    return Report(title, columns, rows, bars)
