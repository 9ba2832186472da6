"""Is an artifact's every file the one that was written?"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from edgeq.artifact.hashes import FileHash, hash_file, xxh64_file
from edgeq.artifact.manifest import AGAIN, Manifest
from edgeq.errors import ArtifactError


def hash_folder(folder: Path, known: dict[str, FileHash] | None = None) -> dict[str, FileHash]:
    """Size and hashes of every file under `folder`, by relative name; `known` ones are not read again."""
    known = known or {}
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return {name: known.get(name) or hash_file(folder / name) for name in names}


def verify_files(folder: Path, manifest: Manifest, skip_hash: Collection[str] = (), strong: bool = False) -> None:
    """Check that every file of the manifest is there, of its size, with its XXH64 (and its SHA-256 if `strong`).

    `skip_hash`: names whose hash somebody else checks (the C runtime that of the weights file).
    Raises ArtifactError naming all the files that are not as they were written.
    """
    wrong = [f"{name} {why}" for name, entry in manifest.files.items()
             if (why := _fault(folder / name, entry, name in skip_hash, strong))]  # fmt: skip
    if wrong:
        raise ArtifactError(f"{folder}: {'; '.join(wrong)}: the artifact is damaged or incomplete; {AGAIN}")


def _fault(path: Path, entry: FileHash, skip_hash: bool, strong: bool) -> str | None:
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"has {size:,} bytes instead of {entry.bytes:,}"
    if strong:
        return None if hash_file(path) == entry else "has other contents than when it was written"
    if not skip_hash and xxh64_file(path) != entry.xxh64:
        return "has other contents than when it was written"
    return None
