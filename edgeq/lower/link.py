"""Links what an artifact holds (plan, runtime, kernels) into `model.so`, or a program that needs nothing at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgeq import targets
from edgeq.artifact.manifest import read
from edgeq.errors import ArtifactError
from edgeq.lower.toolchain import CFLAGS, RUNTIME, cc

SOURCE, KERNELS, LIBRARY = "model.c", "kernels.a", "model.so"
EXPORTS = f"-Wl,--version-script={RUNTIME / 'exports.map'}"
_SHARED = ("-shared", "-s", "-Wl,--gc-sections", "-Wl,--no-undefined", EXPORTS, "-lm")
_STATIC = ("-static", "-Wl,--gc-sections", "-lm")


def link_library(triple: str, artifact: Path, out: Path) -> None:
    """Compile the plan and the runtime and link them with the kernels into one shared library that needs only libc."""
    cc(triple, [*CFLAGS, *inputs(artifact), *_SHARED, "-o", str(out)], f"linking {out.name}")


def link_program(
    artifact: Path, sources: Sequence[Path], out: Path, *,
    include: Sequence[Path] = (), defines: Sequence[str] = (), strip: bool = True,
) -> None:  # fmt: skip
    """A static executable for the artifact's target: its plan and kernels, the runtime, and `sources`, one with a main.

    Args:
        artifact: folder of a compiled model; its weights are not linked in.
        sources: C files. include: folders of their headers (edgeq.h is found). defines: `NAME` or `NAME=VALUE`.
        strip: leave out symbols; kernels keep their names without.

    Raises:
        ArtifactError: made before artifacts carried their kernels. ToolchainError: with the compiler's output.
    """
    target = targets.find(read(artifact).target)
    options = [*(f"-I{folder}" for folder in include), *(f"-D{define}" for define in defines), *["-s"] * strip]
    files = [*inputs(artifact), *map(str, sources)]
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".edgeq-link-") as folder:
        fresh = Path(folder) / out.name
        cc(target.static_triple, [*CFLAGS, *options, *files, *_STATIC, "-o", str(fresh)], f"linking {out.name}")
        os.replace(fresh, out)


def inputs(artifact: Path) -> list[str]:
    """Arguments for the files that every way of linking has."""
    files = [artifact / SOURCE, artifact / KERNELS]
    for file in files:
        if not file.is_file():
            raise ArtifactError(f"{file}: no such file; this artifact cannot be linked again: compile the model again")
    return [f"-I{RUNTIME}", *map(str, sorted(RUNTIME.glob("*.c"))), *map(str, files)]
