"""The C compiler and linker: PyPI's ziglang, so that no compiler has to be installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeq.errors import ToolchainError

RUNTIME = Path(__file__).resolve().parent.parent / "runtime"
CFLAGS = ("-O2", "-std=gnu11", "-fPIC", "-fvisibility=hidden", "-fno-sanitize=undefined", "-g0", "-pthread")
EXPORTS = f"-Wl,--version-script={RUNTIME / 'exports.map'}"
LINK = ("-shared", "-s", "-Wl,--gc-sections", "-Wl,--no-undefined", EXPORTS, "-lm")


def run(command: Sequence[str], what: str) -> None:
    """Run a tool; raises ToolchainError with its output when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(f"{what} failed:\n{(done.stderr or done.stdout).strip()[-4000:]}")


def cc(triple: str, args: Sequence[str], what: str) -> None:
    """`zig cc` for a target triple."""
    run([sys.executable, "-m", "ziglang", "cc", "-target", triple, *args], what)


def link_model(triple: str, model_c: Path, objects: Sequence[Path], out: Path) -> None:
    """Compile the plan and the runtime and link them with the kernels into one shared library that needs only libc."""
    sources = [str(model_c), *(str(p) for p in sorted(RUNTIME.glob("*.c")))]
    cc(
        triple,
        [*CFLAGS, f"-I{RUNTIME}", *sources, *(str(o) for o in objects), *LINK, "-o", str(out)],
        "linking model.so",
    )
