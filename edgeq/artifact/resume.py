"""What a compile has measured so far, in a folder beside its output, so that `--resume` goes on from there."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeq.artifact.folder import MARK, lock_folder
from edgeq.errors import OutputError

WORTH_S = 30.0  # work of a shorter time is done again rather than kept


def resume_folder(out: Path) -> Path:
    """`.NAME.edgeq-resume` beside the output."""
    out = Path(os.path.abspath(out))
    return out.parent / f".{out.name}{MARK}resume"


@contextmanager
def kept_work(out: Path, resume: bool) -> Iterator[Path]:
    """Yield the folder to keep work in: what an earlier compile left when `resume` is set, else an empty one.

    It is removed when the block ends; when the block fails or is interrupted it stays, unless it is empty or less than
    WORTH_S seconds went by. Raises OutputError while another process compiles to the same output.
    """
    folder = resume_folder(out)
    lock, found = _taken(folder, resume)
    start = time.monotonic()
    finished = False
    try:
        yield folder
        finished = True
    finally:
        keep = not finished and (found or time.monotonic() - start >= WORTH_S)
        if not keep or not any(folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _taken(folder: Path, resume: bool) -> tuple[int, bool]:
    """(the lock, whether it holds work): the folder exists and is this process's."""
    while True:
        folder.mkdir(exist_ok=True)
        lock = lock_folder(folder)
        if lock is not None:
            break
        if folder.exists():
            raise OutputError(f"another edgeq compile to the same output is running (it holds {folder})")
    if not resume:
        for item in folder.iterdir():
            shutil.rmtree(item) if item.is_dir() else item.unlink()
    return lock, any(folder.iterdir())
