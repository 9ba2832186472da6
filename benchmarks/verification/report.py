"""What a check prints: a table, and each bar with the figure that meets or misses it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Bar:
    """A demand, the figure measured, and whether it is met."""

    demand: str
    figure: str
    met: bool


@dataclass
class Report:
    """`columns` and `rows` of a table (may be empty), `bars` below it."""

    title: str
    columns: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether every bar is met."""
        return all(bar.met for bar in self.bars)

    def text(self) -> str:
        """Markdown."""
        lines = [self.title, ""]
        if self.columns:
            rule = "|---|" + "---:|" * (len(self.columns) - 1)
            lines += [_line(self.columns), rule, *(_line(row) for row in self.rows), ""]
        return "\n".join(lines + [f"{'ok  ' if b.met else 'MISS'} {b.demand}: {b.figure}" for b in self.bars])


def say(text: str) -> None:
    """Progress goes to stderr, so that stdout is the table alone."""
    print(text, file=sys.stderr, flush=True)


def _line(cells: list[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
