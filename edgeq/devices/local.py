"""This machine as a device: the same programs and the same road as on any other, through its own shell."""

from __future__ import annotations

import subprocess
from subprocess import PIPE
from typing import IO

from edgeq.devices.link import PipeLink, Process
from edgeq.devices.shell_device import ShellDevice


class LocalLink(PipeLink):
    """`sh` on this machine."""

    name = "local"

    def start(self, script: str, stdin: IO[bytes] | int = PIPE, stdout: IO[bytes] | int = PIPE) -> Process:
        """A child process."""
        return subprocess.Popen(["sh", "-c", script], stdin=stdin, stdout=stdout, stderr=PIPE)

    def broke(self, status: int, stderr: bytes) -> bool:
        """There is no link to break."""
        return False


def open_local(folder: str | None = None) -> ShellDevice:
    """This machine; TargetError when its folder cannot be written to."""
    return ShellDevice(LocalLink(), folder)
