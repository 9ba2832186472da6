"""Finds the programs that pip does not bring: the emulator and LLVM's tools."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

from edgeq.errors import TargetError, ToolchainError

OLDEST_LLVM = 19
_LLVM = (*(f"-{n}" for n in range(25, OLDEST_LLVM - 1, -1)), "")


def find_emulator(name: str = "qemu-aarch64") -> Path:
    """The program `name`, of the folder $EDGEQ_QEMU or of the PATH; raises TargetError that says what to install."""
    folder = os.environ.get("EDGEQ_QEMU")
    found = shutil.which(name, path=folder) or shutil.which(f"{name}-static", path=folder)
    if found is None:
        where = f"in $EDGEQ_QEMU ({folder})" if folder else "on this machine"
        advice = "install it (Debian, Ubuntu: apt install qemu-user) or point $EDGEQ_QEMU at its folder"
        raise TargetError(f"no {name} {where}; {advice}")
    return Path(found)


@cache
def find_llvm(tool: str) -> Path:
    """`$EDGEQ_LLVM/tool`, or the newest of tool-25...tool-19 and tool on the PATH.

    Raises TargetError when there is none, or none of LLVM 19 or newer: older scheduling models miss instructions.
    """
    folder = os.environ.get("EDGEQ_LLVM")
    names = [tool] if folder else [tool + suffix for suffix in _LLVM]
    for name in names:
        found = shutil.which(name, path=folder)
        if found and _major(found) >= OLDEST_LLVM:
            return Path(found)
    where = f" in $EDGEQ_LLVM ({folder})" if folder else ""
    advice = f"install it (Debian, Ubuntu: apt install llvm-{OLDEST_LLVM}) or point $EDGEQ_LLVM at its bin folder"
    raise TargetError(f"no {tool} of LLVM {OLDEST_LLVM} or newer{where}, which models cycles; {advice}")


def llvm_version(tool: Path) -> str:
    """`19.1.7`, "" when the tool does not say."""
    found = re.search(r"LLVM version (\S+)", run(tool, "--version"))
    return found[1] if found else ""


def _major(tool: str) -> int:
    found = re.match(r"\d+", llvm_version(Path(tool)))
    return int(found[0]) if found else 0


def run(tool: Path, *arguments: str | Path, text: str | None = None) -> str:
    """Output of a tool; raises ToolchainError with its message when it fails."""
    command = [str(tool), *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(f"{tool.name} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout
