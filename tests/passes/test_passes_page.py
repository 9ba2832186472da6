"""docs/passes.md names every pass that prepares a model, every option and its default."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from edgeq.compiling.recipes import OWN
from edgeq.passes import PASSES, load

PAGE = (Path(__file__).parents[2] / "docs" / "passes.md").read_text()
DESCRIBED = [name for name in PASSES if name not in OWN]


def section(title: str) -> list[list[str]]:
    """Rows of the table under a heading (or of the page's first), cells stripped, without its head."""
    text = PAGE.split(f"## {title}\n")[1] if title else PAGE
    rows = re.findall(r"^\|.*\|$", text.split("\n## ")[0], re.MULTILINE)
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


def codes(cell: str) -> list[str]:
    return [code.strip("`\"") for code in cell.split(", ")]


def described() -> dict[tuple[str, str], str]:
    """(pass, option) -> default; an empty first cell continues the pass above."""
    found, names = {}, [""]
    for first, options, defaults, _ in section("Options"):
        names = codes(first) if first else names
        values = codes(defaults)
        values = values * len(codes(options)) if len(values) == 1 else values
        found |= {(name, o): v for name in names for o, v in zip(codes(options), values, strict=True)}
    return found


def test_every_pass_is_listed() -> None:
    assert sorted(codes(row[0])[0] for row in section("")) == sorted(DESCRIBED)


def test_every_option_is_described_with_its_default() -> None:
    want = {(name, item.name): item.default for name in DESCRIBED for item in fields(load(name))}
    texts = {key: str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else
             str(value) for key, value in want.items()}  # fmt: skip
    assert described() == texts
