"""What a compile within a budget promised and keeps, from the section `budget` of edgeq.json."""

from __future__ import annotations

import re
from typing import Any

from edgeq.budget.amounts import percent_text, seconds_text, size_text
from edgeq.cli.table import table


def budget_text(manifest: dict[str, Any]) -> str:
    """Tables of formats by group of layers and of promises; "" of an artifact that promised nothing."""
    budget = manifest.get("budget")
    if not budget:
        return ""
    groups = table(("layers", "formats (layers each)", "bytes", "bits/weight"), _groups(manifest))
    return f"\n\n{groups}\n\n{table(('', 'promised', 'measured', 'predicted'), _promises(budget))}\n"


def _promises(budget: dict[str, Any]) -> list[tuple[str, ...]]:
    promised, measured, predicted = budget["promised"], budget["measured"], budget["predicted"]
    sizes = [size_text(one["bytes"]) for one in (measured, predicted)]
    rows: list[tuple[str, ...]] = [("size", _optional(size_text, promised.get("bytes")), *sizes)]
    if "perplexity" in measured:
        error = percent_text(measured["perplexity_increase_error"]).removeprefix("+")
        now = f"{measured['original_perplexity']:.2f} -> {measured['perplexity']:.2f}"
        share = f"{percent_text(measured['perplexity_increase'])} ± {error} ({now})"
        rows.append(("perplexity", _optional(percent_text, promised.get("perplexity_increase")), share,
                     _optional(percent_text, predicted.get("perplexity_increase"))))  # fmt: skip
    if "seconds" in measured:
        time = f"{seconds_text(measured['seconds'])} ({measured['seconds_source']})"
        rows.append(("latency", _optional(seconds_text, promised.get("seconds")), time,
                     _optional(seconds_text, predicted.get("seconds"))))  # fmt: skip
    return rows


def _optional(shown: Any, value: float | None) -> str:
    return "-" if value is None else str(shown(value))


def _groups(manifest: dict[str, Any]) -> list[tuple[str, ...]]:
    """Tensors whose names differ in layer numbers: how many of them have which format, and their bytes."""
    found: dict[str, list[dict[str, Any]]] = {}
    for tensor in manifest["tensors"]:
        name = re.sub(r"(?<![^.])\d+(?![^.])", "*", re.sub(r"#\d+$", "", tensor["name"]))
        if tensor["format"] not in ("f32", "i32"):
            found.setdefault(name, []).append(tensor)
    return [(name, _mix(tensors), size_text(_sum(tensors)), f"{_bits(tensors):.2f}") for name, tensors in found.items()]


def _mix(tensors: list[dict[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for tensor in tensors:
        counts[tensor["format"]] = counts.get(tensor["format"], 0) + 1
    return ", ".join(f"{name} ({counts[name]})" for name in sorted(counts, key=lambda one: -counts[one]))


def _sum(tensors: list[dict[str, Any]]) -> int:
    return sum(tensor["bytes"] for tensor in tensors)


def _bits(tensors: list[dict[str, Any]]) -> float:
    weights = 0
    for tensor in tensors:
        size = 1
        for length in tensor["shape"]:
            size *= length
        weights += size
    return _sum(tensors) * 8 / max(1, weights)
