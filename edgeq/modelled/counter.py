"""Runs a program under the emulator with the counting plugin."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import EdgeqError, TargetError, ToolchainError, UsageError
from edgeq.lower import toolchain
from edgeq.lower.objects import cache_folder
from edgeq.modelled.architecture import ARM64, Architecture
from edgeq.modelled.counts import Interval, read_counts
from edgeq.modelled.program import Program, read_program
from edgeq.modelled.tools import find_emulator, run

SOURCE = Path(__file__).with_name("counter.c")
INCLUDE = SOURCE.parent
"""Folder of marker.h."""
FLAGS = ("-O2", "-std=gnu11", "-fPIC", "-shared", "-fvisibility=hidden", "-fno-sanitize=undefined", "-s")
CPUS = {"max": "max,sve-max-vq=1,pauth-impdef=on"}
"""Options of AArch64 CPUs whose plain name would be another processor than phones have: SVE at 128 bits."""
LONGEST_S = 3600.0


@dataclass(frozen=True)
class Counted:
    """A program that ended: its output, its exit status, its symbols, and what ran between its markers."""

    stdout: bytes
    stderr: bytes
    status: int
    program: Program
    intervals: list[Interval]


def emulate(cpu: str, architecture: Architecture = ARM64) -> list[str]:
    """Command before a static program; raises TargetError where the emulator is missing."""
    options = CPUS.get(cpu, cpu) if architecture is ARM64 else cpu
    return [str(find_emulator(architecture.emulator)), "-cpu", options]


def emulator_version(architecture: Architecture) -> str:
    """`qemu-aarch64 7.2.22`."""
    words = run(find_emulator(architecture.emulator), "--version").split()
    return f"{architecture.emulator} {words[words.index('version') + 1]}"


def plugin() -> Path:
    """The plugin for this machine's emulator, compiled when it is not in the cache."""
    key = hashlib.sha256("\n".join([SOURCE.read_text(), *FLAGS]).encode()).hexdigest()[:16]
    built = cache_folder() / "modelled" / f"counter-{key}.so"
    if not built.exists():
        _build(built)
    return built


def _build(built: Path) -> None:
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        fresh = Path(folder) / built.name
        toolchain.run([sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", str(fresh), str(SOURCE)], SOURCE.name)
        fresh.replace(built)  # atomic: another process may be making the same file


def count(
    program: Path, arguments: Sequence[str], cpu: str, *, cwd: Path | None = None, timeout_s: float = LONGEST_S
) -> Counted:
    """Run a static, unstripped program of one thread on `cpu` and count its instructions.

    Raises:
        TargetError: no emulator, one that takes no plugin of API version 1, or the program takes longer.
        UsageError: an unknown CPU; the program ran more than one thread.
        ToolchainError: the emulator died and left no counts.
    """
    symbols = read_program(program)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        command = [
            *emulate(cpu, symbols.architecture),
            "-plugin",
            f"{plugin()},out={out}",
            str(program.resolve()),
            *arguments,
        ]
        try:
            done = subprocess.run(command, capture_output=True, cwd=cwd, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired:
            raise TargetError(f"{program.name} took longer than {timeout_s:.0f} s under emulation") from None
        if done.returncode and not (out.exists() and out.stat().st_size):
            raise _refused(done.stderr.decode(errors="replace"))
        return Counted(done.stdout, done.stderr, done.returncode, symbols, read_counts(out, symbols))


def _refused(stderr: str) -> EdgeqError:
    said = " ".join(stderr.split())[-300:]
    if "CPU model" in said:
        return UsageError(f"qemu: {said}; try cortex-a72, cortex-a76 or max")
    if "plugin" in said:
        advice = "counting needs dynamically linked emulators of QEMU 7.2 to 8.2 with plugins (Debian 12, Ubuntu 24.04)"
        return TargetError(f"the emulator takes no plugin: {said}; {advice}")
    return ToolchainError(f"the emulator did not start: {said}")
