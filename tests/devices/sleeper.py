"""A program for devices that says its process number and sleeps: is it still there after its link was cut?"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


class Sleeper:
    """Writes its number to `pid` and becomes `sleep`."""

    def __init__(self, folder: Path) -> None:
        self.pid = folder / "pid of sleeper"
        self.program = folder / "sleeper"
        self.program.write_text(
            f'#!/bin/sh\necho $$ > "{self.pid}.new"; mv "{self.pid}.new" "{self.pid}"; exec sleep 300\n'
        )
        self.program.chmod(0o755)

    def started(self) -> bool:
        return self.pid.exists()

    def alive(self) -> bool:
        """False when it was ended (also one that nobody has waited for yet)."""
        try:
            state = Path(f"/proc/{int(self.pid.read_text())}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state.rpartition(")")[2].split()[0] != "Z"


def soon(what: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether it becomes true within a bound; the bound is for a busy machine and no part of what is tested."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.05)
    return what()
