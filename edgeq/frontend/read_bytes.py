"""Reading a range of a file into memory of its own (a mapping's pages would count as ours)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from edgeq.errors import ModelError


def read_bytes(path: Path, start: int, size: int) -> np.ndarray:
    """u8 `[size]` from byte `start` on.

    Raises:
        ModelError: the file is gone or ends too early.
    """
    buffer = np.empty(size, np.uint8)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ModelError(f"{path} cannot be opened any more: {error.strerror}") from error
    try:
        _fill(descriptor, buffer.data, start, path)
    finally:
        os.close(descriptor)
    return buffer


def _fill(descriptor: int, view: memoryview, start: int, path: Path) -> None:
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], start + done)
        if count == 0:
            raise ModelError(f"{path} ended while it was read: {start + done} bytes instead of {start + len(view)}")
        done += count
