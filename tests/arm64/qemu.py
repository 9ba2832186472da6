"""The emulator that runs AArch64 programs here, and the CPU that each variant of the arm64 target is tested on."""

from __future__ import annotations

import os
import shutil
from functools import cache
from pathlib import Path

import pytest

CPUS = {"neon": "cortex-a72", "dotprod": "cortex-a76", "i8mm": "max"}  # the least CPU of qemu's that has the features
_OPTIONS = {"max": "max,sve-max-vq=1,pauth-impdef=on"}  # SVE at 128 bits, as on phones; cheap pointer authentication
_REQUIRED = ("CI", "EDGEQ_REQUIRE_QEMU")
_TOOLS = (
    Path(__file__).resolve().parents[2] / "build" / "tools" / "bin"
)  # where .ci/install-qemu puts it for plain users
_MISSING = "qemu-aarch64 is not here, so nothing of arm64 is tested: run .ci/install-qemu (Debian: qemu-user)"


@cache
def emulator() -> str | None:
    """Path of qemu-aarch64, None where it is missing."""
    return shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64", path=str(_TOOLS))


def available() -> bool:
    """False where arm64 is left out: no emulator, and none demanded by $CI or $EDGEQ_REQUIRE_QEMU."""
    return emulator() is not None or any(os.environ.get(name) for name in _REQUIRED)


def qemu(cpu: str) -> list[str]:
    """Command that runs a static AArch64 executable on `cpu`; skips or, where arm64 must be tested, fails the test."""
    program = emulator()
    if program is None:
        (pytest.fail if available() else pytest.skip)(_MISSING)
    return [str(program), "-cpu", _OPTIONS.get(cpu, cpu)]
