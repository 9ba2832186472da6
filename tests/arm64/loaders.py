"""Programs for arm64 that load a library while they run: through glibc, or what stands in for Android's loader."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from qemu import available, qemu

from edgeq.lower.toolchain import RUNTIME, cc

HERE = Path(__file__).resolve().parent
_GLIBC = "usr/aarch64-linux-gnu"  # where .ci/install-arm64-libc puts it
_FLAGS = ("-O1", "-g0", "-std=gnu11", "-Wall", "-Wextra", "-Werror", f"-I{RUNTIME}", "-pthread")


@dataclass(frozen=True)
class Loader:
    """How a program comes to a library: the file that does it, and what it is linked with."""

    name: str
    source: Path
    triple: str
    flags: tuple[str, ...]

    def build(self, main: Path, folder: Path) -> Program:
        """A program whose calls of edgeq.h go to the library that it loads."""
        out = folder / f"{main.stem}-{self.name}"
        cc(self.triple, [*_FLAGS, *self.flags, str(main), str(self.source), "-o", str(out)], out.name)
        return Program(out)


@dataclass(frozen=True)
class Program:
    """An executable for arm64."""

    path: Path

    def run(self, library: Path, cpu: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[bytes]:
        """Run it with `library` on an emulated CPU."""
        call = [*qemu(cpu), "-L", glibc(), "-E", f"EDGEQ_LIBRARY={library}", str(self.path), *arguments]
        return subprocess.run(call, input=given.encode(), capture_output=True, timeout=300, check=False)


LOADERS = (
    Loader("glibc", HERE / "by_dlopen.c", "aarch64-linux-gnu.2.28", ("-ldl",)),
    Loader("bionic", HERE / "by_bionic.c", "aarch64-linux-musl", ("-static",)),
)


def glibc() -> str:
    """Folder that holds glibc for arm64; skips or, where arm64 must be tested, fails the test."""
    roots = (Path("/"), HERE.parents[1] / "build" / "tools")
    found = [root / _GLIBC for root in roots if (root / _GLIBC / "lib" / "ld-linux-aarch64.so.1").exists()]
    if not found:
        (pytest.fail if available() else pytest.skip)("no glibc for arm64: run .ci/install-arm64-libc")
    return str(found[0])


def readelf(option: str, library: Path) -> list[list[str]]:
    """Words of each line that `readelf` prints."""
    call = ["readelf", "-W", option, str(library)]
    text = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    return [line.replace("[", " ").replace("]", " ").split() for line in text.splitlines()]
