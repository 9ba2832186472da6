"""XXH64 of a file, the hash that the runtime, the manifest and the probe share."""

from __future__ import annotations

from pathlib import Path

BLOCK = 1 << 20


def xxh64(path: Path) -> str:
    """16 hexadecimal digits."""
    import xxhash

    digest = xxhash.xxh64()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
