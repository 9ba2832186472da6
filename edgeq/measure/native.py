"""Compiles the measuring C of this package for this machine, once, into the user's cache."""

from __future__ import annotations

import ctypes
import hashlib
import sys
import tempfile
from pathlib import Path

from edgeq.lower import toolchain
from edgeq.lower.objects import cache_folder
from edgeq.measure.machine import this_machine

FLAGS = ("-O3", "-march=native", "-shared", "-fPIC", "-pthread", "-s")


def library(source: Path) -> ctypes.CDLL:
    """The shared library of one C file, compiled when it is not in the cache.

    Raises ToolchainError with the compiler's output when it does not compile.
    """
    built = cache_folder() / "measure" / f"{source.stem}-{_key(source)}.so"
    if not built.exists():
        _build(source, built)
    return ctypes.CDLL(str(built))


def _key(source: Path) -> str:
    # -march=native: a home folder shared by two machines must hold a library for each.
    machine = this_machine()
    text = [source.read_text(), *FLAGS, machine.cpu, *sorted(machine.features)]
    return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


def _build(source: Path, built: Path) -> None:
    built.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        fresh = Path(folder) / built.name
        toolchain.run([sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", str(fresh), str(source)], source.name)
        fresh.replace(built)  # atomic: another process may be making the same file
