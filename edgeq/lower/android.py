"""Links an artifact into a library for Android that needs nothing: no libc, no loader's help beyond relative addresses.

Android's libc can be linked only with files of its NDK, so the runtime is compiled against `runtime/bare` instead:
system calls under libc's names. Pages of 16 KB are what Android 15 allows devices to have; such a library runs on pages
of 4 KB too.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edgeq.artifact.manifest import read
from edgeq.errors import UnsupportedError
from edgeq.lower.link import EXPORTS, inputs
from edgeq.lower.toolchain import CFLAGS, RUNTIME, cc

TARGET, TRIPLE = "arm64", "aarch64-linux-none"
PAGE = 1 << 14
BARE = RUNTIME / "bare"
COMPILE = (
    "-ffreestanding", "-nostdlib", "-nostdinc", "-isystem", str(BARE / "include"), f"-I{BARE}",
    "-fno-stack-protector", "-fno-math-errno",  # neither a canary in thread-local storage nor errno behind sqrt
    "-mcpu=generic+reserve_x18",  # the platform's register on Android
)  # fmt: skip
_LINK = (
    "-shared", "-s", "-Wl,--gc-sections", "-Wl,--no-undefined", EXPORTS,
    "-Wl,-Bsymbolic", f"-Wl,-z,max-page-size={PAGE}", f"-Wl,-z,common-page-size={PAGE}",
)  # fmt: skip


def check_target(artifact: Path, target: str) -> None:
    """Raise UnsupportedError for an artifact of another `target` than Android's."""
    if target != TARGET:
        raise UnsupportedError(f"{artifact} was compiled for {target}; Android libraries are made of --target {TARGET}")


def link_android(artifact: Path, out: Path) -> None:
    """Make the library of an artifact for arm64: plan, kernels and runtime, with the C API of edgeq.h.

    Args:
        artifact: folder of a model compiled for arm64; its weights stay outside.
        out: the file; its name becomes the library's own (DT_SONAME), as Android's loader wants.

    Raises:
        UnsupportedError: compiled for another target.
        ArtifactError: made before artifacts carried their kernels. ToolchainError: with the compiler's output.
    """
    check_target(artifact, read(artifact).target)
    sources = [*inputs(artifact), *map(str, sorted(BARE.glob("*.c")))]
    options = [*CFLAGS, *COMPILE, *_LINK, f"-Wl,-soname,{out.name}"]
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".edgeq-link-") as folder:
        fresh = Path(folder) / out.name
        cc(TRIPLE, [*options, *sources, "-o", str(fresh)], f"linking {out.name}")
        os.replace(fresh, out)
