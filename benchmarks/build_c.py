"""Builds a one-file C program with the compiler of PyPI's ``ziglang``: no system compiler needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FLAGS = ("-O3", "-mcpu=native", "-std=c11", "-Wall", "-Wextra", "-Werror")


def build(source: Path, program: Path, *extra: str) -> Path:
    """Compile `source` to `program` unless that is newer; `extra` are more compiler arguments."""
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, str(source), "-o", str(program), *extra]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"could not build {program.name}:\n{done.stderr}")
    return program
