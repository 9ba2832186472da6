"""Puts what the model says of measured artifacts beside their times, and fits the model to the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeq.artifact.manifest import Manifest
from edgeq.artifact.manifest import read as read_manifest
from edgeq.errors import EdgeqError, UsageError
from edgeq.measure.names import label
from edgeq.measure.profile import Settings
from edgeq.modelled.architecture import of_target
from edgeq.modelled.calibration import Item, calibrate
from edgeq.modelled.device_file import model_section
from edgeq.modelled.rows import Accounting, Row
from edgeq.modelled.run import count_artifact

EMULATED = "max"
"""CPU that counts what a device executed: it has the instructions of every variant that can be counted."""
UNCOUNTED = ("avx512",)
"""Variants with instructions that the emulator lacks."""
PROMPT, DECODE = 64, 128
"""Tokens; decoding an empty context up to 128 is on average at position 64, where what is counted decodes."""
Report = Callable[[str, int, int], None]


def fitting_settings(variant: str | None) -> Callable[[Path, Settings], Settings]:
    """What to measure of an artifact so that the model can be fitted to it: one thread, a variant that can be counted,
    prompts that an emulator gets through."""

    def adapt(path: Path, settings: Settings) -> Settings:
        manifest = read_manifest(path)
        chosen = variant or _countable(manifest)
        if not manifest.memory["context"]:
            return replace(settings, threads=1, variant=chosen, prefill=None, decode=None)
        prompt = min(PROMPT, manifest.memory["chunk"], manifest.memory["context"])
        prefill = (prompt,) if any(entry["name"] == "prefill" for entry in manifest.entries) else None
        decode = min(DECODE, manifest.memory["context"])
        return replace(settings, threads=1, variant=chosen, prefill=prefill, decode=decode)

    return adapt


def _countable(manifest: Manifest) -> str | None:
    """None, the device's own choice, unless that might be a variant that cannot be counted."""
    names = [variant["name"] for variant in manifest.variants]
    known = [name for name in names if not name.startswith(UNCOUNTED)]
    return None if known == names else known[0]


def fitted(measurement: dict[str, Any], progress: Report | None = None) -> dict[str, Any]:
    """The object of a device file (`devices.measurement`) with the sections of the model fitted to its profiles.

    Where that is impossible (no artifact, no emulator, too few ops) it has `not_fitted`, the reason, instead.
    """
    try:
        return {**measurement, **_fit(measurement, progress or (lambda stage, done, total: None))}
    except EdgeqError as e:
        return {**measurement, "not_fitted": str(e)}


def _fit(measurement: dict[str, Any], say: Report) -> dict[str, Any]:
    rates = measurement["device"]["bandwidth"]
    bandwidth = next((rate["bytes_per_s"] for rate in rates if rate["threads"] == 1), 0.0)
    if not bandwidth:
        raise UsageError("its read bandwidth could not be measured")
    items: list[Item] = []
    for profile in measurement["profiles"]:
        say(f"model {Path(profile['path']).name}", 0, 0)
        items += measured_items(Path(profile["path"]), profile)
    return model_section(items, calibrate(items, bandwidth))


def measured_items(path: Path, measured: dict[str, Any]) -> list[Item]:
    """Ops of a profile of one thread beside what the same ops cost by the model; raises as `count_artifact`."""
    if measured["threads"] != 1:
        raise UsageError(f"{path.name} was measured with {measured['threads']} threads; the model is of one")
    manifest = read_manifest(path)
    prompt, decode = _tokens(manifest, measured["tokens_per_second"])
    counts = count_artifact(path, manifest, EMULATED, prompt, decode, measured["variant"])
    cpus = [p.cpu for p in of_target(manifest.target).processors]
    entries = Accounting(manifest.to_json(), counts, cpus).entries()
    regions = {entry["name"]: entry["regions"] for entry in manifest.entries}
    name = f"{manifest.model} {manifest.bits}"
    return [
        item
        for entry, found in entries.items()
        for item in _items((name, entry), regions[entry], measured["entries"][entry], found.rows)
    ]


def _tokens(manifest: Manifest, rates: dict[str, Any]) -> tuple[int, int]:
    """(prompt, tokens to decode): the longest measured prompt, or a position in the middle of what was decoded."""
    prompt = max((int(name.split("_")[1]) for name in rates if name.startswith("prefill_")), default=0)
    if not any(name.startswith("decode_") for name in rates):
        return prompt, 0
    return prompt or min(PROMPT, manifest.memory["context"] - 1), 1


def _items(
    where: tuple[str, str], regions: Sequence[dict[str, Any]], ops: Sequence[dict[str, Any]], rows: Sequence[Row]
) -> list[Item]:
    by_name = {row.name: row for row in rows}
    items = []
    for op in ops:
        names = [kernel for region in regions if label(region) == op["name"] for kernel in region["kernels"]]
        calls = [by_name[name] for name in names]
        cpus = [cpu for cpu in calls[0].cycles if all(row.cycles[cpu] is not None for row in calls)]
        cycles = {cpu: sum((row.cycles[cpu] or 0.0) / row.calls for row in calls) for cpu in cpus}
        moved = sum((row.weight_bytes + row.kv_bytes) / row.calls for row in calls)
        items.append(Item(*where, op["name"], op["us"] / 1e6, cycles, moved))
    return items
