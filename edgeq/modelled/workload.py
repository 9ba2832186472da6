"""What the manifest says one run of an entry does: calls and bytes of each kernel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CACHED = ("attention.", "cross.")


@dataclass(frozen=True)
class Work:
    """One kernel in one run of an entry, all its calls together.

    Attributes:
        calls: times it is called on one thread. weight_bytes: read of the weights file. cached: whether it reads the KV
            cache.
    """

    calls: int
    weight_bytes: int
    cached: bool


def workload(manifest: Mapping[str, Any], entry: str) -> dict[str, Work]:
    """Kernels of an entry by name, in the plan's order."""
    facts = {kernel["name"]: kernel for kernel in manifest["kernels"]}
    regions = next(e["regions"] for e in manifest["entries"] if e["name"] == entry)
    calls: dict[str, int] = {}
    for region in regions:
        for name in region["kernels"]:
            calls[name] = calls.get(name, 0) + 1
    return {name: _work(facts[name], n) for name, n in calls.items()}


def _work(kernel: Mapping[str, Any], calls: int) -> Work:
    return Work(calls, calls * kernel["weight_bytes"], kernel["family"].startswith(_CACHED))


def kv_bytes(manifest: Mapping[str, Any], rows: int, position: int) -> float:
    """Bytes of the KV cache that a walk of `rows` tokens from `position` on moves: what lies before, read once; its own
    rows, written and read."""
    memory = manifest["memory"]
    if not memory["context"]:
        return 0.0
    return float(memory["kv_cache"] / memory["context"] * (position + 2 * rows))
