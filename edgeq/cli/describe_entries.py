"""The entries of an artifact, in words and tables: their tensors, and what each was compiled to."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from edgeq.cli.table import megabytes, table
from edgeq.measure.names import layerless

Entry = dict[str, Any]
TYPES = {"f32": "float32", "i32": "int32"}


def entries_text(entries: Iterable[Entry]) -> str:
    """One line an entry."""
    rows = [
        (e["name"], e["kind"], e["max_rows"] if e["kind"] == "token" else "-", len(e["regions"]), len(calls(e)),
         megabytes(_total(e, "weight_bytes")), f"{_total(e, 'ops') / 1e6:.1f} M")
        for e in entries
    ]  # fmt: skip
    return table(("entry", "kind", "rows", "regions", "calls", "weights read", "multiply-adds"), rows)


def calls(entry: Entry) -> list[str]:
    """Kernel names, one a call, in the plan's order."""
    return [name for region in entry["regions"] for name in region["kernels"]]


def _total(entry: Entry, key: str) -> int:
    return sum(region[key] for region in entry["regions"])


def tensors_text(entries: Iterable[Entry]) -> str:
    """Inputs and outputs of static entries; "" when there are none."""
    rows = [
        (entry["name"], side, t["name"], TYPES[t["dtype"]], _shape(t["shape"]), t["row_stride"])
        for entry in entries
        for side, key in (("in", "inputs"), ("out", "outputs"))
        for t in entry[key]
    ]
    return table(("entry", "", "tensor", "type", "shape", "row stride"), rows) if rows else ""


def _shape(shape: list[int]) -> str:
    return "x".join(map(str, shape)) or "one value"


def entry_text(entry: Entry, kernels: list[dict[str, Any]]) -> str:
    """Everything of one entry: tensors, regions with what was fused into each, kernels by family."""
    known = {kernel["name"]: kernel for kernel in kernels}
    parts = [_heading(entry), tensors_text([entry]), regions_text(entry, known), families_text(entry, known)]
    return "\n\n".join(part for part in parts if part)


def _heading(entry: Entry) -> str:
    if entry["kind"] == "token":
        return f"{entry['name']}: token entry, rows of a walk: up to {entry['max_rows']}"
    length = f", {entry['length']} tokens" if entry["length"] else ""
    return f"{entry['name']}: static entry, batch {entry['batch']}{length}"


def regions_text(entry: Entry, known: dict[str, dict[str, Any]]) -> str:
    """Regions (stretches of work between two barriers) in the plan's order; layers that do the same are one item.

    Each item says which modules were fused into it and which kernels do it; a kernel of glue, which ops it fused.
    """
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[int]] = {}
    for index, region in enumerate(entry["regions"]):
        key = tuple(layerless(region["modules"])), tuple(region["kernels"])
        groups.setdefault(key, []).append(index)
    return "\n".join(_region(entry, at, known) for at in groups.values())


def _region(entry: Entry, at: list[int], known: dict[str, dict[str, Any]]) -> str:
    first = entry["regions"][at[0]]
    times = f" x{len(at)}" if len(at) > 1 else ""
    reads, adds = (sum(entry["regions"][i][key] for i in at) for key in ("weight_bytes", "ops"))
    facts = [f"{megabytes(reads)} of weights"] * bool(reads) + [f"{adds / 1e6:.1f} M multiply-adds"] * bool(adds)
    modules = [f"    of {', '.join(layerless(first['modules']))}"] if first["modules"] else []
    lines = [f"region {at[0]}{times}: {', '.join([first['kind'], *facts])}", *modules]
    runs = [(name, len(list(same))) for name, same in groupby(first["kernels"])]
    return "\n".join([*lines, *(f"    by {_kernel(known[name])}{_times(count)}" for name, count in runs)])


def _times(count: int) -> str:
    """A kernel takes many rows in several passes."""
    return f", {count} passes over the rows" if count > 1 else ""


def _kernel(kernel: dict[str, Any]) -> str:
    return f"{kernel['name']} ({kernel['what']})" if kernel["what"] else str(kernel["name"])


def families_text(entry: Entry, known: dict[str, dict[str, Any]]) -> str:
    """How often the entry calls each family of kernels."""
    families: dict[str, list[str]] = {}
    for name in calls(entry):
        families.setdefault(known[name]["family"], []).append(name)
    rows = [
        (family, len(names), len(set(names)), sum(known[name]["weight_bytes"] for name in names))
        for family, names in sorted(families.items(), key=lambda item: -len(item[1]))
    ]
    return table(("kernel family", "calls", "kernels", "weight bytes"), rows)
