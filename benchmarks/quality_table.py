"""The quality table as Markdown: a row a method, best figures of a model and width in bold."""

from __future__ import annotations

from typing import Any

HEADER = "| model | bits | method | {score} | size | compile s |\n|---|---|---|---|---|---|"
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
    named = f"{row['model']} | {row['bits']} | {row['method']}"
    return f"| {named} | {score} | {_size(row)} | {row['compile_seconds']:.0f} |"


def _size(row: dict[str, Any]) -> str:
    """An artifact's weights; of a graph, bits a linear's weight and bits of any weight, and the process's memory."""
    if "bytes" in row:
        return f"{row['bytes'] / 1e6:.1f} MB"
    bits = f"{row['linear_bits']:.2f} bits, {row['weight_bits']:.2f} with embedding and head"
    return f"{bits}; peak {row['peak_gb']:.1f} GB"


def _agreement(row: dict[str, Any]) -> str:
    return f"{row['mean_cosine']:.4f}, {row['min_cosine']:.4f}, {row['top1']:.1%}"
