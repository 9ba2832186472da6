"""Profile an artifact on a device: push its weights and a program with its code, run that, read what it measured."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.artifact.manifest import Manifest, read
from edgeq.artifact.verify import verify_files
from edgeq.devices.device import Completed, Device
from edgeq.devices.facts import DeviceFacts
from edgeq.devices.programs import runner, target_of
from edgeq.errors import TargetError
from edgeq.measure import latency, spread
from edgeq.measure.bandwidth import Bandwidth
from edgeq.measure.operations import Operation, operations
from edgeq.measure.profile import Settings, fitting
from edgeq.measure.report import FIRST_TOKEN_PROMPT, Measured, Setting, report
from edgeq.runtime.facts import Profile
from edgeq.runtime.library import ERRORS

WEIGHTS = "weights.safetensors"
HOW = "its own program on the device"
START_S = 600.0  # to map and hash weights of a slow card, and to measure bandwidth
Report = Callable[[str, int, int], None]


def profile_on(
    device: Device, path: str | Path, settings: Settings | None = None, progress: Report | None = None
) -> dict[str, Any]:
    """Measure the artifact at `path` on a real device; the object that `edgeq profile --json` prints.

    Of an artifact whose weights are there already, only the program is pushed, and that when the code changed.
    Raises as `Device`, as `edgeq.measure.profile.profile`, and TargetError when the artifact is for another machine.
    """
    say = progress or (lambda stage, done, total: None)
    artifact = Path(path)
    manifest = read(artifact)
    settings = fitting(settings or Settings(), manifest.to_json())
    verify_files(artifact, manifest, skip_hash={WEIGHTS})  # the program hashes the weights when it maps them
    facts = device.describe(measure=False)
    check_target(manifest, facts, artifact)
    say("link its program", 0, 0)
    program = runner(artifact)
    folder = folder_of(manifest)
    say(f"push to {device.name}", 0, 0)
    pushed = [file.name for file in (artifact / WEIGHTS, program) if device.push(file, f"{folder}/{file.name}")]
    say(f"measure on {device.name}", 0, 0)
    printed = _run(device, folder, settings, manifest)
    return _report(path, manifest.to_json(), facts, printed, pushed)


def folder_of(manifest: Manifest) -> str:
    """Folder of an artifact on a device, by what it is: compiled again, its weights are found there."""
    return "models/" + re.sub(r"[^A-Za-z0-9._-]+", "-", f"{manifest.model}-{manifest.bits}").strip("-.")


def check_target(manifest: Manifest, facts: DeviceFacts, artifact: Path) -> None:
    """TargetError when the artifact's code is not for this kind of machine."""
    if manifest.target != (there := target_of(facts.arch)):
        what = f"{artifact} was compiled for {manifest.target}, {facts.name} is {there}"
        raise TargetError(f"{what}: compile with --target {there}")


def _run(device: Device, folder: str, settings: Settings, manifest: Manifest) -> dict[str, Any]:
    options = runner_options(settings, manifest.memory["context"])
    done = device.run([f"{folder}/runner", f"{folder}/{WEIGHTS}", *options], timeout_s=_timeout_s(settings, manifest))
    _check(done, device)
    printed = dict(json.loads(done.stdout))
    if not printed["bandwidth"]["buffer_bytes"]:
        raise TargetError(f"{device.name}: no memory or threads to measure its read bandwidth with")
    return printed


def runner_options(settings: Settings, context: int) -> list[str]:
    """Arguments of native/runner.c for settings that `fitting` chose; a prompt's longest length comes first."""
    lengths = sorted({*(settings.prefill or ())}, reverse=True)
    options: dict[str, object] = {
        "--prefill": ",".join(map(str, lengths)) or None,
        "--decode": settings.decode,
        "--first": min(FIRST_TOKEN_PROMPT, context) if lengths else None,
        "--repeats": settings.repeats,
        "--budget": settings.budget_s,
        "--cool": settings.cool_s,
        "--threads": settings.threads or None,
        "--variant": settings.variant,
    }
    return [str(word) for name, value in options.items() if value is not None for word in (name, value)]


def _timeout_s(settings: Settings, manifest: Manifest) -> float:
    """Far more than it takes: what has ended is known from the link, this is for what never ends."""
    measurements = len(settings.prefill or ()) + 3 + len(manifest.to_json()["entries"])
    return START_S + settings.cool_s + 10 * (settings.budget_s + 30) * measurements


def _check(done: Completed, device: Device) -> None:
    if not done.status:
        return
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.status in ERRORS:
        raise ERRORS[done.status](f"{device.name}: {said[-1] if said else 'refused'}")
    why = said[-1] if said else f"signal {done.status - 128}" if done.status > 128 else f"status {done.status}"
    hint = "; out of memory?" if done.status == 128 + 9 else ""
    raise TargetError(f"{device.name}: the measuring program failed: {why}{hint}")


def _report(
    path: str | Path, manifest: dict[str, Any], facts: DeviceFacts, printed: dict[str, Any], pushed: list[str]
) -> dict[str, Any]:
    known = {
        key: value for key, value in facts.to_json().items() if key not in ("name", "bandwidth", "int8", "emulated")
    }
    device = {"spec": facts.name, "how": HOW, "pushed": pushed, **known}
    setting = Setting(
        printed["variant"], printed["threads"], printed["context"], facts.cpu, facts.cores, facts.memory_bytes, device
    )
    return {**report(path, manifest, setting, _measured(manifest, printed)), "memory": printed["memory"]}


def _measured(manifest: dict[str, Any], printed: dict[str, Any]) -> Measured:
    memory = printed["memory"]
    peak = memory["VmHWM"]
    return Measured(
        printed["load_seconds"],
        {name: spread.summarize(samples) for name, samples in printed["speeds"].items()},
        {name: latency.summarize(samples) for name, samples in printed["latencies"].items()},
        {entry["name"]: _operations(entry, printed["profiles"]) for entry in manifest["entries"]},
        {"process_peak_bytes": peak, "artifact_bytes": max(0, peak - memory["VmRSS_before_load"])},
        Bandwidth(**printed["bandwidth"]),
        printed.get("temperature"),
    )


def _operations(entry: dict[str, Any], runs: list[dict[str, Any]]) -> list[Operation]:
    found = [run[entry["name"]] for run in runs]
    times = [(f["walks"], f["rows"], np.array(f["inside_ns"], float), np.array(f["total_ns"], float)) for f in found]
    return operations(entry["regions"], [Profile(*time) for time in times])
