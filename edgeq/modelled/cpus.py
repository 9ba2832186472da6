"""The CPUs that emulators know, and the one that is emulated for an artifact."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from edgeq.errors import TargetError, UsageError
from edgeq.modelled.architecture import ALL, Architecture
from edgeq.modelled.tools import find_emulator


def choose_cpu(asked: str, architecture: Architecture, artifact: Path) -> str:
    """The emulator's name of `asked` (any case; options may follow a comma), or the architecture's own for "".

    Raises UsageError for a CPU that no emulator here knows, TargetError for one of another architecture than the
    artifact's, or without an emulator.
    """
    name, comma, options = (asked or architecture.cpu).partition(",")
    if found := _match(name, known_cpus(architecture)):
        return found + comma + options
    for other in ALL:
        if other is not architecture and _match(name, _known_or_none(other)):
            raise TargetError(
                f"{artifact} was compiled for {architecture.target}, {name} is {other.target}: "
                f"give one of {architecture.emulator}'s CPUs (--device qemu:{architecture.cpu}), or compile with "
                f"--target {other.target}"
            )
    listing = f"`{architecture.emulator} -cpu help` lists what runs code for {architecture.target}"
    raise UsageError(f"{architecture.emulator} knows no CPU {name!r}: try {architecture.cpu}; {listing}")


def known_cpus(architecture: Architecture) -> list[str]:
    """What the emulator takes after `-cpu`; raises TargetError without one."""
    command = [str(find_emulator(architecture.emulator)), "-cpu", "help"]
    printed = subprocess.run(command, capture_output=True, text=True, check=False)  # ends with status 1
    return parse(printed.stdout)


def parse(printed: str) -> list[str]:
    """Names in what `-cpu help` prints: one a line up to an empty one, after `x86` in older emulators of that."""
    lines = printed.partition("Available CPUs:\n")[2].partition("\n\n")[0].splitlines()
    words = [line.split() for line in lines if line.strip()]
    return [w[1] if w[0] == "x86" and len(w) > 1 else w[0] for w in words]


def _known_or_none(architecture: Architecture) -> list[str]:
    try:
        return known_cpus(architecture)
    except TargetError:
        return []  # then nothing can be said of its names


def _match(name: str, known: Iterable[str]) -> str | None:
    return next((cpu for cpu in known if cpu.lower() == name.lower()), None)
