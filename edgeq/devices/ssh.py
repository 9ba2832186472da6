"""A machine behind OpenSSH: the system's own client with the user's own configuration, keys and agent."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from subprocess import PIPE
from typing import IO

from edgeq.devices.link import PipeLink, Process
from edgeq.devices.shell_device import ShellDevice
from edgeq.errors import TargetError, UsageError

# Never ask (nobody may be there to answer), notice within 15 s that the other side is gone, one connection for all.
OPTIONS = ("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5",
           "-o", "ServerAliveCountMax=3", "-o", "ControlMaster=auto", "-o", "ControlPersist=60")  # fmt: skip
CLIENT_FAILED = 255
# The host is handed to ssh as a word: no option, whatever the configuration's names look like.
SPEC = re.compile(r"ssh://((?:[^@/:-][^@/:]*@)?(?:\[[0-9a-fA-F:.%]+\]|[^@/:\[\]-][^@/:\[\]]*))(?::(\d+))?/?")


class SshLink(PipeLink):
    """`ssh` to one host over one shared connection. `$EDGEQ_SSH` is the command, `ssh` by default."""

    def __init__(self, spec: str) -> None:
        self.name = spec
        destination, port = _parse(spec)
        self._folder = Path(tempfile.mkdtemp(prefix="edgeq-"))  # short: a socket's path has 104 bytes at most
        control = ("-o", f"ControlPath={self._folder}/c")
        self._command = [*shlex.split(os.environ.get("EDGEQ_SSH", "ssh")), *OPTIONS, *control, *port]
        self._destination = destination

    def start(self, script: str, stdin: IO[bytes] | int = PIPE, stdout: IO[bytes] | int = PIPE) -> Process:
        """Through `sh -c`, as the user's login shell may be any."""
        command = [*self._command, "--", self._destination, f"exec sh -c {shlex.quote(script)}"]
        try:
            return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=PIPE)
        except FileNotFoundError:
            raise TargetError(f"{self.name}: no program {command[0]!r} here: install OpenSSH's client") from None

    def broke(self, status: int, stderr: bytes) -> bool:
        """By the client's own exit status; a script of ours never ends so."""
        return status == CLIENT_FAILED

    def close(self) -> None:
        """End the shared connection."""
        if self._folder.exists():
            subprocess.run([*self._command, "-O", "exit", "--", self._destination], capture_output=True, check=False)
            shutil.rmtree(self._folder, ignore_errors=True)


def _parse(spec: str) -> tuple[str, list[str]]:
    """(destination, port options); raises UsageError."""
    parts = SPEC.fullmatch(spec)
    if not parts:
        raise UsageError(f"no device {spec!r}; give ssh://[user@]host[:port]")
    destination, port = parts.groups()
    return destination.replace("[", "").replace("]", ""), ["-p", port] if port else []


def open_ssh(spec: str, folder: str | None = None) -> ShellDevice:
    """The machine at `ssh://[user@]host[:port]`; UsageError for another form, TargetError when it cannot be reached."""
    return ShellDevice(SshLink(spec), folder)
