"""`edgeq profile --device qemu`: instructions counted, cycles and bytes modelled, and the time that would follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeq.artifact.manifest import Manifest, read
from edgeq.errors import UsageError
from edgeq.modelled.architecture import Architecture, of_target
from edgeq.modelled.assumptions import assumptions
from edgeq.modelled.cpus import choose_cpu
from edgeq.modelled.device_file import DeviceModel
from edgeq.modelled.estimate import BANDWIDTH, Load, Machine, seconds, total
from edgeq.modelled.rows import Accounting, EntryRows, Row
from edgeq.modelled.run import count_artifact
from edgeq.modelled.tools import find_llvm

SCHEMA_VERSION = 1
PROMPT, DECODE = 64, 4
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """What to run, and what to assume.

    Attributes:
        prompt: tokens through `prefill`. decode: tokens through `decode` after them. None: 64 and 4, as they fit.
        variant: instruction-set variant to force.
        bandwidth: bytes a second from memory. clocks: Hz by LLVM's CPU name, where other than its processor's.
        device: a measured device to predict for, instead of assumed processors.
    """

    prompt: int | None = None
    decode: int | None = None
    variant: str | None = None
    bandwidth: float = BANDWIDTH
    clocks: Mapping[str, float] = field(default_factory=dict)
    device: DeviceModel | None = None

    def machines(self, architecture: Architecture) -> dict[str, Machine]:
        """What each processor is taken to do, by LLVM's name."""
        if self.device:
            return {self.device.cpu: self.device.machine}
        known = architecture.processors
        return {p.cpu: Machine(self.clocks.get(p.cpu, p.clock_hz), self.bandwidth) for p in known}

    @property
    def source(self) -> str:
        """Who said clocks and bandwidth."""
        return f"fitted to {self.device.name}" if self.device else "defaults and options"


def profile_modelled(
    artifact: str | Path, cpu: str, settings: Settings | None = None, progress: Report | None = None
) -> dict[str, Any]:
    """The object that `edgeq profile --device qemu:CPU --json` prints; nothing in it is a measured time.

    `cpu`: as the emulator calls it; "": the one of the artifact's target. Raises UsageError for what does not fit the
    artifact, TargetError for a CPU of another target and where the emulator or LLVM's tools are missing, and as
    `count_artifact`.
    """
    say = progress or (lambda stage, done, total: None)
    path, settings = Path(artifact), settings or Settings()
    manifest = read(path)
    architecture = of_target(manifest.target)
    cpu = choose_cpu(cpu, architecture, path)
    check_device(settings.device, architecture)
    prompt, decode = _tokens(manifest, settings)
    for tool in ("llvm-objdump", "llvm-mca"):
        find_llvm(tool)  # counting takes longer than finding that one is missing
    say(f"count instructions on {architecture.emulator} {cpu}", 0, 0)
    counts = count_artifact(path, manifest, cpu, prompt, decode, settings.variant)
    machines = settings.machines(architecture)
    accounting = Accounting(manifest.to_json(), counts, list(machines), say)
    error = settings.device.error if settings.device else None
    return {
        "schema_version": SCHEMA_VERSION,
        "modelled": True,
        "path": str(path),
        "model": manifest.model,
        "bits": manifest.bits,
        "device": f"qemu:{cpu}",
        "variant": counts.variant,
        "entries": {name: describe_entry(found, machines, error) for name, found in accounting.entries().items()},
        "assumptions": assumptions(architecture, machines, accounting.refused, settings.source),
    }


def check_device(device: DeviceModel | None, architecture: Architecture) -> None:
    """Raise UsageError for a device that was measured with other code than this architecture's."""
    if device and device.architecture is not architecture:
        measured = device.architecture.target
        raise UsageError(f"{device.file} was measured on {measured}, the artifact is for {architecture.target}")


def _tokens(manifest: Manifest, settings: Settings) -> tuple[int, int]:
    context, chunk = manifest.memory["context"], manifest.memory["chunk"]
    if not context:
        if settings.prompt or settings.decode:
            raise UsageError("this model takes no tokens: leave out --prefill and --decode")
        return 0, 0
    decode = settings.decode or min(DECODE, context)
    one_walk = chunk if chunk > 1 else context  # without a prefill entry, tokens before decoding are fed one by one
    prompt = min(PROMPT, one_walk, context - decode) if settings.prompt is None else settings.prompt
    if prompt + decode > context:
        raise UsageError(f"{prompt} and {decode} tokens do not fit the artifact's context of {context}")
    return prompt, decode


def describe_entry(
    found: EntryRows, machines: Mapping[str, Machine], error: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One run of an entry: `per_row` figures are of a token (of a static entry, a run). `error`: observed where the
    model was fitted, if it was."""
    rows = found.runs[0].rows
    instructions = sum(row.instructions for row in found.rows)
    return {
        "runs": len(found.runs),
        "rows": rows,
        "positions": [run.position for run in found.runs],
        "instructions": instructions,
        "instructions_per_row": instructions / rows,
        "weight_bytes": sum(row.weight_bytes for row in found.rows),
        "kv_bytes": sum(row.kv_bytes for row in found.rows),
        "estimate": {cpu: _estimate(found, cpu, machines[cpu], error) for cpu in machines},
        "kernels": [_kernel(row, machines) for row in found.rows],
    }


def load_of(row: Row, cpu: str) -> Load | None:
    """Cycles and bytes of a row; None where the processor has no cycles."""
    cycles = row.cycles[cpu]
    return None if cycles is None else Load(cycles, row.weight_bytes + row.kv_bytes)


def _estimate(found: EntryRows, cpu: str, machine: Machine, error: dict[str, Any] | None) -> dict[str, Any] | None:
    loads = [load for row in found.rows if (load := load_of(row, cpu))]
    if len(loads) < len(found.rows):
        return None
    parts = [seconds(load, machine) for load in loads]
    return {
        "cycles": sum(load.cycles for load in loads),
        "seconds": total(parts),
        "rows_per_second": found.runs[0].rows / total(parts),
        "compute_seconds": sum(part.compute for part in parts),
        "memory_seconds": sum(part.memory for part in parts),
        **({"error": error, "seconds_between": _between(total(parts), error)} if error else {}),
    }


def _between(predicted: float, error: dict[str, Any]) -> list[float]:
    """Seconds, were it off by as much as the most and least that was observed."""
    return [predicted * error[f"measured_over_predicted_{end}"] for end in ("least", "most")]


def _kernel(row: Row, machines: Mapping[str, Machine]) -> dict[str, Any]:
    loads = {cpu: load_of(row, cpu) for cpu in machines}
    times = {cpu: seconds(load, machines[cpu]) if load else None for cpu, load in loads.items()}
    return {
        "name": row.name,
        "calls": row.calls,
        "instructions": row.instructions,
        "weight_bytes": row.weight_bytes,
        "kv_bytes": row.kv_bytes,
        "cycles": row.cycles,
        "seconds": {cpu: t.total if t else None for cpu, t in times.items()},
        "bound": {cpu: t.bound if t else None for cpu, t in times.items()},
        "hot_loop": row.hot_loop,
    }
