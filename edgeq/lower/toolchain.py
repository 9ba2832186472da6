"""The C compiler and linker: PyPI's ziglang, so that no compiler has to be installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeq.errors import ToolchainError

RUNTIME = Path(__file__).resolve().parent.parent / "runtime"
# A product that is added is rounded first on every CPU: compilers would fuse the two where they can: other results.
_FLOATS = "-ffp-contract=off"
CFLAGS = ("-O2", "-std=gnu11", _FLOATS, "-fPIC", "-fvisibility=hidden", "-fno-sanitize=undefined", "-g0", "-pthread")


def run(command: Sequence[str], what: str) -> None:
    """Run a tool; raises ToolchainError with its output when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(f"{what} failed:\n{(done.stderr or done.stdout).strip()[-4000:]}")


def cc(triple: str, args: Sequence[str], what: str) -> None:
    """`zig cc` for a target triple."""
    run([sys.executable, "-m", "ziglang", "cc", "-target", triple, *args], what)


def archive(objects: Sequence[Path], out: Path) -> None:
    """A static library of object files, the same bytes whenever they are the same."""
    run([sys.executable, "-m", "ziglang", "ar", "rcsD", str(out), *(str(o) for o in objects)], f"making {out.name}")
