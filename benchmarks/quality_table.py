"""The quality table as Markdown: a row a method, best figures of a model and width in bold."""

from __future__ import annotations

from typing import Any

HEADER = "| model | bits | method | {score} | weights MB | compile s |\n|---|---|---|---|---|---|"
SCORES = {"perplexity": ("perplexity", min), "mean_cosine": ("mean cosine, lowest, same nearest", max)}


def table(rows: list[dict[str, Any]]) -> str:
    """Every model's rows below one header, in the order in which they were measured."""
    parts = []
    for key, (name, better) in SCORES.items():
        scored = [row for row in rows if key in row]
        if scored:
            lines = [_line(row, key, better(r[key] for r in _peers(scored, row))) for row in scored]
            parts.append("\n".join([HEADER.format(score=name), *lines]))
    failed = [f"- {row['model']} {row['bits']} {row['method']}: {row['failed']}" for row in rows if "failed" in row]
    return "\n\n".join([*parts, *(["\n".join(failed)] if failed else [])])


def _peers(rows: list[dict[str, Any]], row: dict[str, Any]) -> list[dict[str, Any]]:
    return [r for r in rows if (r["model"], r["bits"]) == (row["model"], row["bits"])]


def _line(row: dict[str, Any], key: str, best: float) -> str:
    words = f"{row['perplexity']:.2f} ± {row['error']:.2f}" if key == "perplexity" else _agreement(row)
    score = f"**{words}**" if row[key] == best else words
    numbers = f"{row['bytes'] / 1e6:.1f} | {row['compile_seconds']:.0f}"
    return f"| {row['model']} | {row['bits']} | {row['method']} | {score} | {numbers} |"


def _agreement(row: dict[str, Any]) -> str:
    return f"{row['mean_cosine']:.4f}, {row['min_cosine']:.4f}, {row['top1']:.1%}"
