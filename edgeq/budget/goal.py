"""What a compile promises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeq.budget.amounts import parse_latency, parse_percent, parse_size, percent_text, seconds_text, size_text
from edgeq.errors import UsageError

NAMES = ("target_size", "max_ppl_increase", "target_latency", "eval_text")  # arguments of `edgeq.compile`


@dataclass(frozen=True)
class Goal:
    """The promises of a compile; None: none of that kind.

    Attributes:
        bytes: most of the whole artifact folder.
        increase: most that perplexity may rise above the float model's: 0.02 is 2 %.
        seconds: most for a token (a run, of a model that takes no tokens).
        text: file to measure perplexity on; "": windows that no pass measures (docs/budgets.md).
    """

    bytes: int | None = None
    increase: float | None = None
    seconds: float | None = None
    text: str = ""

    def __bool__(self) -> bool:
        return (self.bytes, self.increase, self.seconds) != (None, None, None)

    def __str__(self) -> str:
        """As options of the command line."""
        size = f"--target-size {size_text(self.bytes)}" if self.bytes is not None else ""
        increase = f"--max-ppl-increase {percent_text(self.increase)[1:]}" if self.increase is not None else ""
        seconds = f"--target-latency {seconds_text(self.seconds)}" if self.seconds is not None else ""
        return " ".join(part for part in (size, increase, seconds) if part)

    def to_json(self) -> dict[str, Any]:
        """What was promised, for edgeq.json."""
        pairs = {"bytes": self.bytes, "perplexity_increase": self.increase, "seconds": self.seconds}
        return {name: value for name, value in pairs.items() if value is not None}


def parse_goal(size: str = "", increase: str = "", latency: str = "", text: str = "") -> Goal:
    """From options as they are written; "" is none. Raises UsageError for what is no amount."""
    return Goal(
        parse_size(size) if size else None,
        parse_percent(increase) if increase else None,
        parse_latency(latency) if latency else None,
        text,
    )


def taken(given: Mapping[str, Any]) -> tuple[dict[str, Any], Goal]:
    """(arguments of `edgeq.compile` without those of a budget, the budget); UsageError for a text without a promise."""
    goal = parse_goal(*(given.get(name) or "" for name in NAMES))
    if goal.text and not goal:
        raise UsageError("--eval-text is what a budget is measured on: give --max-ppl-increase or --target-size too")
    return {name: value for name, value in given.items() if name not in NAMES}, goal
