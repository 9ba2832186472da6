"""Room on the disk, and failures to write turned into an OutputError."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from edgeq.errors import OutputError

FULL = (errno.ENOSPC, errno.EDQUOT)


def check_space(path: Path, needed: int) -> None:
    """Raise OutputError when the disk of `path` (whose folder exists) has less than `needed` bytes free."""
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise _full(path, needed, free)


def cannot_write(path: Path, error: OSError, needed: int = 0) -> OutputError:
    """The OutputError for a failed write to `path`; `needed`: bytes of the file when known."""
    if error.errno in FULL:
        return _full(path, needed, shutil.disk_usage(path.parent).free)
    return OutputError(f"{path}: cannot write: {error.strerror or error}")


def _full(path: Path, needed: int, free: int) -> OutputError:
    needs = f"{path.name} needs {needed:,} bytes, " if needed else ""
    return OutputError(f"{path.parent}: the disk is full: {needs}{free:,} are free; make room or write elsewhere")
