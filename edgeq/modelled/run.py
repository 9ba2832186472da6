"""Runs an artifact's entries under the emulator and counts what each executed."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeq.artifact.manifest import Manifest
from edgeq.errors import EdgeqError, TargetError, ToolchainError, UsageError
from edgeq.lower.link import KERNELS, SOURCE, link_program
from edgeq.lower.objects import cache_folder
from edgeq.lower.toolchain import RUNTIME
from edgeq.modelled import counter
from edgeq.modelled.architecture import of_target
from edgeq.modelled.counts import Interval, by_instruction
from edgeq.modelled.program import Program

MAIN = Path(__file__).with_name("count.c")


@dataclass(frozen=True)
class Run:
    """One walk over an entry.

    Attributes:
        entry: its name. rows: tokens, 1 of a static entry. position: of the first.
        counts: times by address of the program.
    """

    entry: str
    rows: int
    position: int
    counts: Counter[int]


@dataclass(frozen=True)
class Counts:
    """Every entry of an artifact, run on one thread of one emulated CPU.

    Attributes:
        variant: instruction-set variant that ran. program: the executable that ran. runs: in order.
    """

    variant: str
    program: Program
    runs: tuple[Run, ...]


def count_artifact(
    artifact: Path, manifest: Manifest, cpu: str, prompt: int, decode: int, variant: str | None
) -> Counts:
    """Feed `prompt` tokens, then `decode` single ones, and run every static entry.

    Raises:
        UsageError: an artifact that cannot be emulated, or an unknown variant.
        TargetError: the emulated CPU lacks what the variant needs, or no emulator is here.
    """
    of_target(manifest.target)
    program = program_of(artifact)
    arguments = [str(artifact.resolve() / "weights.safetensors"), variant or "", str(prompt), str(decode)]
    done = counter.count(program, arguments, cpu)
    if done.status:
        raise _failure(done.status, done.stderr.decode(errors="replace").strip(), cpu)
    said = json.loads(done.stdout)
    counted = [interval for interval in done.intervals if interval.mark]
    runs = tuple(
        _run(facts, interval, done.program) for facts, interval in zip(said["intervals"], counted, strict=True)
    )
    return Counts(said["variant"], done.program, runs)


def _run(facts: dict[str, Any], interval: Interval, program: Program) -> Run:
    return Run(facts["entry"], facts["rows"], facts["position"], by_instruction(interval.blocks, program))


def _failure(status: int, said: str, cpu: str) -> EdgeqError:
    kind = {UsageError.exit_code: UsageError, TargetError.exit_code: TargetError}.get(status, ToolchainError)
    return kind(f"on emulated {cpu}: {said or f'the program ended with status {status}'}")


def program_of(artifact: Path) -> Path:
    """The static, unstripped executable that runs every entry of an artifact, linked when it is not in the cache."""
    built = cache_folder() / "modelled" / f"count-{_key(artifact)}"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        link_program(artifact, [MAIN], built, include=[counter.INCLUDE], strip=False)
    return built


def _key(artifact: Path) -> str:
    digest = hashlib.sha256()
    runtime = sorted(path for path in RUNTIME.iterdir() if path.suffix in (".c", ".h"))
    for path in (artifact / SOURCE, artifact / KERNELS, MAIN, MAIN.with_name("marker.h"), *runtime):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]
