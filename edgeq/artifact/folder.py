"""An output folder that appears whole or not at all: written beside its place, then renamed.

The temporary folder is `.NAME.edgeq-XXXXXXXX`, locked (flock) as long as its writer lives. One that nobody locks was
left by a process that was killed; the next write to the same NAME removes it.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgeq.artifact.space import FULL, cannot_write
from edgeq.errors import OutputError

MANIFEST = "edgeq.json"
MARK, OLD = ".edgeq-", ".old"


def check_output(out: Path, overwrite: bool = False) -> None:
    """Raise OutputError unless `out` is free, or `overwrite` is set and it is an artifact: call it before any work."""
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise OutputError(f"{out} exists already; choose another --output, or give --overwrite to replace an artifact")
    if out.is_symlink() or not out.is_dir() or not ((out / MANIFEST).is_file() or not any(out.iterdir())):
        raise OutputError(f"{out} is not an edgeq artifact and will not be overwritten; choose another --output")


@contextmanager
def artifact_folder(out: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder to write into, which becomes `out` when the block ends without an exception.

    Whatever ends the block otherwise (an error, Ctrl-C), the temporary folder and parents made for it are removed, and
    an `out` that was to be replaced stays as it was.
    Raises OutputError: `out` exists, is no artifact, no permission, the disk is full.
    """
    out = Path(os.path.abspath(out))
    check_output(out, overwrite)
    made: list[Path] = []
    try:
        made = _make_parents(out)
        _remove_stale(out)
        temporary, lock = _locked_folder(out)
    except OSError as error:
        _remove_empty(made)
        raise cannot_write(out, error) from error
    try:
        yield temporary
        check_output(out, overwrite)
        _put_in_place(temporary, out)
    except OSError as error:
        if error.errno in FULL or str(error.filename or "").startswith(str(temporary)):
            raise cannot_write(out, error) from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(lock)
        _remove_empty(made)


def _make_parents(out: Path) -> list[Path]:
    """Make missing parents; return them, innermost first."""
    missing = [p for p in out.parents if not p.exists()]
    out.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _remove_stale(out: Path) -> None:
    """Remove temporary folders of `out` whose writers are gone; bring back an `out` that they had set aside."""
    for folder in list(out.parent.iterdir()):
        if _is_temporary(folder.name, out.name) and (lock := lock_folder(folder)) is not None:
            if folder.name.endswith(OLD) and not os.path.lexists(out):
                os.rename(folder, out)
            else:
                shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _is_temporary(name: str, out: str) -> bool:
    return re.fullmatch(rf"\.{re.escape(out)}{re.escape(MARK)}[0-9a-f]{{8}}({re.escape(OLD)})?", name) is not None


def _locked_folder(out: Path) -> tuple[Path, int]:
    """A new temporary folder and its lock; another one if a cleaner was faster than the lock."""
    while True:
        folder = out.parent / f".{out.name}{MARK}{secrets.token_hex(4)}"
        folder.mkdir()
        lock = lock_folder(folder)
        if lock is not None:
            return folder, lock


def lock_folder(folder: Path) -> int | None:
    """Descriptor that holds the lock of `folder`, or None when it is taken or the folder is gone."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(fd), os.stat(folder)):
            return fd
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(fd)
    return None


def _put_in_place(temporary: Path, out: Path) -> None:
    """Rename `temporary` to `out`; an old `out` comes back if that fails."""
    if not os.path.lexists(out):
        os.rename(temporary, out)
        return
    old = temporary.with_name(temporary.name + OLD)
    try:
        os.rename(out, old)
        os.rename(temporary, out)
    except BaseException:
        if old.exists() and not os.path.lexists(out):
            os.rename(old, out)
        raise
    shutil.rmtree(old, ignore_errors=True)
