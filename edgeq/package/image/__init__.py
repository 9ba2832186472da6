"""Photos and masks in C for packaged executables: decoding, resizing and preparing as `edgeq.tasks` does in Python.

`image.h` is the interface of LIBRARY, which knows files' bytes and pixels only; the programs over it read photos into a
model's entries (`photo.h`) and are started by `edgeq/package/app/main.c`.
"""

from __future__ import annotations

from pathlib import Path

INCLUDE = Path(__file__).resolve().parent


def _files(*names: str) -> tuple[Path, ...]:
    return tuple(INCLUDE / f"{name}.c" for name in names)


LIBRARY = _files(
    "decode", "upright", "exif", "checksum", "inflate", "png", "png_pixels", "png_write", "jpeg", "jpeg_scan",
    "jpeg_block", "jpeg_idct", "jpeg_colour", "bmp", "pnm", "resize", "prepare", "mask",
)  # fmt: skip


def sources(*programs: str) -> tuple[Path, ...]:
    """C files of a program over photos beside those of `edgeq/package/app`: LIBRARY, what all share, its own."""
    return (*LIBRARY, *_files("photo", "steps", *programs))
