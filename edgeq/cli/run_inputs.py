"""What several kinds of runs share: texts from options or stdin, files to write, times."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgeq.cli import console
from edgeq.cli.run_kinds import takes
from edgeq.errors import OutputError, UsageError

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact

T = TypeVar("T")


def texts(model: Artifact, options: dict[str, Any]) -> list[str]:
    """The texts of --text, else the lines of stdin (an empty one is an empty text); raises UsageError for none."""
    found = list(options["texts"])
    if not found and not sys.stdin.isatty():
        found = sys.stdin.read().splitlines()
    if not found:
        raise UsageError(f"nothing to run on: this is {takes(model)}")
    return found


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` gives, and the seconds it took."""
    begin = time.perf_counter()
    return work(), time.perf_counter() - begin


def say_time(what: str, seconds: float) -> None:
    """`3 texts: 4.2 ms` on stderr."""
    console.note(f"{what}: {seconds * 1e3:.1f} ms")


def count(number: int, what: str) -> str:
    """`1 text`, `3 texts`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Have `save` write the file; raises OutputError, and leaves no half-written one."""
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        save(part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
