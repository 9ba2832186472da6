"""Markdown of arm64_instructions.py: the table with its ratios, and where the instructions go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from arm64_figures import PARTS, Figures


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


Figure = Callable[[Figures], float | None]


def best(rows: Sequence[Figures], cpu: str, figure: Figure) -> float | None:
    """llama.cpp's lowest figure on this CPU, over all builds: what edgeq is compared with. None: not counted."""
    counted = (figure(row) for row in rows if row.cpu == cpu and row.system == "llama.cpp")
    return min((value for value in counted if value is not None), default=None)


def _cell(rows: Sequence[Figures], row: Figures, figure: Figure) -> str:
    value, lowest = figure(row), best(rows, row.cpu, figure)
    if value is None:
        return "-"
    text = f"{value / 1e6:.2f}"
    if row.system == "llama.cpp":
        return f"{text} (best)" if value == lowest else text
    return text if lowest is None else f"{text} = **{value / lowest:.2f}x**"


def table(rows: Sequence[Figures]) -> str:
    """Millions of instructions a token; edgeq's with their ratio to llama.cpp's best build for that column."""
    prompts = sorted({prompt for row in rows for prompt in row.prefill})
    figures: list[Figure] = [lambda row: row.decode, *(partial(_prefill, prompt) for prompt in prompts)]
    head = ["CPU", "system", "format", "MB a token", f"decode after {prompts[0]}", *(f"prefill {n}" for n in prompts)]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        facts = [row.cpu, f"{row.system} ({row.variant})", row.format, f"{row.bytes_read / 1e6:.1f}"]
        lines.append(_line([*facts, *(_cell(rows, row, figure) for figure in figures)]))
    return "\n".join(lines)


def _prefill(prompt: int, row: Figures) -> float | None:
    return row.prefill.get(prompt)


def breakdown(rows: Sequence[Figures], entry: str) -> str:
    """Millions of instructions a token by part of the model."""
    head = [f"{entry}: CPU", "system", *PARTS]
    lines = [_line(head), _line(["---"] * len(head))]
    for row in rows:
        parts = (f"{row.parts[entry][part] / 1e6:.2f}" for part in PARTS)
        lines.append(_line([row.cpu, f"{row.system} ({row.variant})", *parts]))
    return "\n".join(lines)
