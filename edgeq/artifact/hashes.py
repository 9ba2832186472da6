"""Size and hashes of a file: XXH64 to check quickly whenever it is loaded, SHA-256 to tell the world."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import xxhash

CHUNK = 1 << 22


@dataclass(frozen=True)
class FileHash:
    """One file of an artifact: size in bytes, XXH64 (seed 0) as 16 hex digits, SHA-256 in hex."""

    bytes: int
    xxh64: str
    sha256: str


def hash_file(path: Path) -> FileHash:
    """Read `path` once and hash it."""
    fast, strong = xxhash.xxh64(seed=0), hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            fast.update(chunk)
            strong.update(chunk)
    return FileHash(path.stat().st_size, fast.hexdigest(), strong.hexdigest())


def xxh64_file(path: Path) -> str:
    """XXH64 (seed 0) of `path`, 16 hex digits."""
    fast = xxhash.xxh64(seed=0)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            fast.update(chunk)
    return fast.hexdigest()
