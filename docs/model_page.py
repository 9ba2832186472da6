"""The Markdown of docs/models.md."""

from __future__ import annotations

import re
from typing import Any

INTRODUCTION = """\
# Models

Every architecture that was tried, how far it came, what refused it. `python docs/models.py` (`make models`) writes this
page from tiny random models in the layout of real checkpoints; nothing here is written by hand. Models are compiled by
structure, not by name: what is not in the list may well compile, and `edgeq compile` says at once what it cannot take.

- **exports**: every entry becomes a graph in the dialect. **lowers**: an artifact is made. **runs**: its entries run.
- **error**: the largest error of any output of the `fp32` artifact, relative to the largest value of Hugging Face's
  eager model; odd sizes, padded batches of 3, several lengths. **cosine**: the lowest of any output at `w8a8`.
"""
COLUMNS = ("model", "class", "entries", "exports", "lowers", "runs", "error", "cosine")
SHOWN = 240


def page(found: dict[str, list[tuple[str, Any]]]) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for group, outcomes in found.items():
        ran = [(name, o) for name, o in outcomes if o.error is not None]
        stopped = [(name, o) for name, o in outcomes if o.error is None or o.cosine is None]
        parts += [f"## {group}\n"] + (table(ran) if ran else []) + (refusals(stopped) if stopped else [])
    return "\n".join(parts)


def table(outcomes: list[tuple[str, Any]]) -> list[str]:
    """The models that run."""
    head = ["| " + " | ".join(COLUMNS) + " |", "|---|---|---|:-:|:-:|:-:|---:|---:|"]
    return [*head, *(f"| {line(name, outcome)} |" for name, outcome in outcomes), ""]


def line(name: str, outcome: Any) -> str:
    """The cells of one model."""
    marks = [mark(outcome.exports), mark(outcome.lowers), mark(outcome.error is not None)]
    error = "" if outcome.error is None else f"{outcome.error:.0e}"
    cosine = "" if outcome.cosine is None else f"{outcome.cosine:.5f}"
    cells = [name, outcome.cls, outcome.entries, *marks, error, cosine]
    why = f" {shortened(outcome.refused)}" if outcome.refused and outcome.error is None else ""
    return " | ".join(cells) + why


def mark(done: bool) -> str:
    """A cell."""
    return "yes" if done else "no"


def refusals(outcomes: list[tuple[str, Any]]) -> list[str]:
    """What stopped each model, in the words of the error."""
    head = ["| model | class | exports | lowers | refused by |", "|---|---|:-:|:-:|---|"]
    rows = [
        f"| {name} | {o.cls} | {mark(o.exports)} | {mark(o.lowers)} | {shortened(o.refused)} |" for name, o in outcomes
    ]
    return [*head, *rows, ""]


def shortened(text: str) -> str:
    """One line of at most SHOWN characters that a table cell can hold; no folder of this machine."""
    joined = " ".join(text.replace(":\n", ":").replace("\n", ";").split())
    flat = re.sub(r"/\S*/model\b", "MODEL", joined).replace("|", "/")
    return flat if len(flat) <= SHOWN else flat[: SHOWN - 3].rstrip() + "..."
