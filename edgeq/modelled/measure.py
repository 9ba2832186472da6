"""Measures artifacts on a real device beside what the model says of them, and fits the model to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeq.artifact.manifest import read as read_manifest
from edgeq.devices.device import Device
from edgeq.devices.profile import profile_on
from edgeq.errors import UsageError
from edgeq.measure.names import label
from edgeq.measure.profile import Settings
from edgeq.modelled.architecture import of_target
from edgeq.modelled.calibration import Item, calibrate
from edgeq.modelled.device_file import describe
from edgeq.modelled.rows import Accounting, Row
from edgeq.modelled.run import count_artifact

EMULATED = "max"
"""CPU that counts what a device executed: it has the instructions of every variant that can be counted."""
UNCOUNTED = ("avx512",)
"""Variants with instructions that the emulator lacks; a device that would choose one is measured with the next."""
PROMPT, DECODE = 64, 128
"""Tokens; decoding an empty context up to 128 is on average at position 64, where what is counted decodes."""
Report = Callable[[str, int, int], None]


def measure_device(
    device: Device, artifacts: Sequence[str | Path], settings: Settings | None = None, progress: Report | None = None
) -> dict[str, Any]:
    """Measure artifacts on a real device with one thread, count and model the same, and fit the model.

    Returns the object of a device file. Raises UsageError for an emulated device or without artifacts, and as
    `profile_on`, `count_artifact` and `calibrate`.
    """
    if device.emulated:
        raise UsageError(f"{device.name} is emulated: nothing can be measured there")
    if not artifacts:
        raise UsageError("give at least one artifact to measure")
    say = progress or (lambda stage, done, total: None)
    facts = device.describe(measure=True)
    bandwidth = next((rate.bytes_per_s for rate in facts.bandwidth if rate.threads == 1), 0.0)
    if not bandwidth:
        raise UsageError(f"{device.name}: its read bandwidth could not be measured")
    items: list[Item] = []
    variants = {}
    for path in map(Path, artifacts):
        measured = profile_on(device, path, _settings(path, settings or Settings()), progress)
        say(f"model {path.name}", 0, 0)
        variants[path.name] = measured["variant"]
        items += measured_items(path, measured)
    return describe(device.name, facts.to_json(), variants, bandwidth, items, calibrate(items, bandwidth))


def _settings(path: Path, settings: Settings) -> Settings:
    manifest = read_manifest(path)
    names = [variant["name"] for variant in manifest.variants if not variant["name"].startswith(UNCOUNTED)]
    variant = settings.variant or (names[0] if len(names) < len(manifest.variants) else None)
    context = manifest.memory["context"]
    if not context:
        return replace(settings, threads=1, variant=variant, prefill=None, decode=None)
    prompt = min(PROMPT, manifest.memory["chunk"], context)
    prefill = (prompt,) if any(entry["name"] == "prefill" for entry in manifest.entries) else None
    return replace(settings, threads=1, variant=variant, prefill=prefill, decode=min(DECODE, context))


def measured_items(path: Path, measured: dict[str, Any]) -> list[Item]:
    """Ops of a profile (`profile_on`'s, one thread) beside what the same ops cost by the model."""
    manifest = read_manifest(path)
    rates = measured["tokens_per_second"]
    prompt = max((int(n.split("_")[1]) for n in rates if n.startswith("prefill_")), default=0)
    decode = 1 if any(n.startswith("decode_") for n in rates) else 0
    before = prompt or min(PROMPT, manifest.memory["context"] - 1) if decode else prompt
    counts = count_artifact(path, manifest, EMULATED, before, decode, measured["variant"])
    cpus = [p.cpu for p in of_target(manifest.target).processors]
    entries = Accounting(manifest.to_json(), counts, cpus).entries()
    regions = {entry["name"]: entry["regions"] for entry in manifest.entries}
    return [
        item
        for name, found in entries.items()
        for item in _items(path.name, name, regions[name], measured["entries"][name], found.rows)
    ]


def _items(
    artifact: str, entry: str, regions: Sequence[dict[str, Any]], ops: Sequence[dict[str, Any]], rows: Sequence[Row]
) -> list[Item]:
    by_name = {row.name: row for row in rows}
    items = []
    for op in ops:
        names = [kernel for region in regions if label(region) == op["name"] for kernel in region["kernels"]]
        calls = [by_name[name] for name in names]
        cpus = [cpu for cpu in calls[0].cycles if all(row.cycles[cpu] is not None for row in calls)]
        cycles = {cpu: sum((row.cycles[cpu] or 0.0) / row.calls for row in calls) for cpu in cpus}
        moved = sum((row.weight_bytes + row.kv_bytes) / row.calls for row in calls)
        items.append(Item(artifact, entry, op["name"], op["us"] / 1e6, cycles, moved))
    return items
