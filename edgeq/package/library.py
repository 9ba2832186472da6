"""An artifact becomes one library for Android, its weights beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeq.artifact.manifest import read
from edgeq.artifact.space import cannot_write, check_space
from edgeq.artifact.verify import verify_files
from edgeq.lower.android import check_target, link_android
from edgeq.package.package import WEIGHTS, Progress, check_file, check_folder

LIBRARY_ROOM = 1 << 22  # bytes, more than any library takes


@dataclass(frozen=True)
class PackagedLibrary:
    """A library made of an artifact.

    Attributes:
        path: the file. target: what it runs on. weights: the file that `edgeq_open` is given on the device.
        total_bytes: of the library. weights_bytes: of the weights file.
    """

    path: Path
    target: str
    weights: Path
    total_bytes: int
    weights_bytes: int


def package_library(
    artifact: Path, output: Path, overwrite: bool = False, progress: Progress | None = None
) -> PackagedLibrary:
    """Make the library of an artifact for arm64.

    Args:
        output: the file, which appears whole or not at all. overwrite: replace a file that is there.

    Raises:
        ArtifactError: damaged, incomplete, or made before artifacts could be linked again.
        UnsupportedError: compiled for another target.
        OutputError: the file exists, or cannot be written. ToolchainError: linking failed.
    """
    say = progress or (lambda stage, done, total: None)
    check_file(output, overwrite)
    check_folder(output)
    manifest = read(artifact)
    check_target(artifact, manifest.target)
    say("check the artifact", 0, 0)
    verify_files(artifact, manifest)
    say("link the library", 0, 0)
    try:
        check_space(output, LIBRARY_ROOM)
        link_android(artifact, output)
    except OSError as error:
        raise cannot_write(output, error, LIBRARY_ROOM) from error
    weights = artifact / WEIGHTS
    return PackagedLibrary(output, manifest.target, weights, output.stat().st_size, weights.stat().st_size)
