"""Builds a one-file C program with the compiler of PyPI's ``ziglang``: no system compiler needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FLAGS = ("-O3", "-mcpu=native", "-std=c11", "-Wall", "-Wextra", "-Werror")


def build(source: Path, program: Path, *extra: str, header: Path | None = None) -> Path:
    """Compile `source` to `program` unless that is newer than it and its header; `extra` are compiler arguments."""
    newest = max(path.stat().st_mtime for path in (source, header or source))
    if program.exists() and program.stat().st_mtime > newest:
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, str(source), "-o", str(program), *extra]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"could not build {program.name}:\n{done.stderr}")
    return program
