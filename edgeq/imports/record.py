"""What became of each weight that a checkpoint held quantized: the receipt, and edgeq.json's `imports`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

KEPT, ROUNDED, AGAIN = "kept", "scales rounded", "quantized again"
NOT_QUANTIZED = "not quantized"
KEEPS = (KEPT, ROUNDED)


@dataclass(frozen=True)
class Imported:
    """One weight.

    Attributes:
        name: Hugging Face's. source: how the checkpoint stores it. outcome: of the words above.
        format: in which it lies here; "" where --bits decides.
        rounding: the largest relative change of a scale by fp16. reason: why codes were not kept.
    """

    name: str
    source: str
    outcome: str
    format: str = ""
    rounding: float = 0.0
    reason: str = ""


def keeps_codes(records: Iterable[Imported]) -> bool:
    """Whether any weight lies on its checkpoint's grid."""
    return any(record.outcome in KEEPS for record in records)


def to_json(records: Iterable[Imported]) -> list[dict[str, Any]]:
    """For edgeq.json."""
    return [asdict(record) for record in records]


def receipt(records: Iterable[dict[str, Any]]) -> list[str]:
    """Lines for people: `GGUF Q4_1 -> w4g32m: 210 kept exactly`."""
    counts: Counter[tuple[str, str, str]] = Counter()
    worst: dict[tuple[str, str, str], float] = {}
    for record in records:
        key = record["source"], record["format"] or "as --bits says", record["outcome"]
        counts[key] += 1
        worst[key] = max(worst.get(key, 0.0), record["rounding"])
    return [f"{source} -> {fmt}: {count} {_words(outcome, worst[source, fmt, outcome])}"
            for (source, fmt, outcome), count in counts.items()]  # fmt: skip


def _words(outcome: str, worst: float) -> str:
    return {
        KEPT: "kept exactly",
        ROUNDED: f"with their codes, scales rounded to fp16 (by {worst:.1e} at most)",
        AGAIN: "quantized again",
    }.get(outcome, outcome)
