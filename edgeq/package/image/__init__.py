"""Photos and masks in C for packaged executables: decoding, resizing and preparing as `edgeq.tasks` does in Python.

`image.h` is the interface; `segment.c`, `classify.c` and `detect.c` are the programs over it (`edgeq/package/app/app.h`).
"""

from __future__ import annotations

from pathlib import Path

INCLUDE = Path(__file__).resolve().parent
LIBRARY = tuple(
    INCLUDE / f"{name}.c"
    for name in (
        "decode", "upright", "exif", "checksum", "inflate", "png", "png_write", "jpeg", "jpeg_scan", "jpeg_idct",
        "jpeg_colour", "bmp", "pnm", "resize", "prepare", "mask",
    )
)  # fmt: skip
