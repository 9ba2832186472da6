"""An Android device behind the `adb` client of its platform tools."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from subprocess import PIPE
from typing import IO

from edgeq.devices.link import Process, complete, push_seconds
from edgeq.devices.shell_device import ShellDevice
from edgeq.errors import TargetError

ASK_S = 30.0


class AdbLink:
    """`adb -s SERIAL`. `$EDGEQ_ADB` is the command, `adb` by default; adb's own variables choose its server."""

    folders: tuple[str, ...] = ("/data/local/tmp/edgeq",)

    def __init__(self, serial: str | None) -> None:
        self._adb = shlex.split(os.environ.get("EDGEQ_ADB", "adb"))
        self.name = f"adb:{serial}" if serial else "adb"
        self._adb += ["-s", serial or self._only_serial()]
        features = complete(self, self._start(["features"]), "asking for its features", ASK_S).decode().split()
        if "shell_v2" not in features:
            raise TargetError(f"{self.name}: its adb tells no exit codes (no shell_v2): Android 7 or newer is needed")

    def _only_serial(self) -> str:
        listing = complete(self, self._start(["devices"]), "listing devices", ASK_S).decode().splitlines()[1:]
        ready = [line.split("\t")[0] for line in listing if line.endswith("\tdevice")]
        if len(ready) == 1:
            return ready[0]
        found = ", ".join(line.replace("\t", " ") for line in listing if line.strip())
        hint = f"give one of adb:SERIAL: {found}" if found else "no device; is USB debugging allowed?"
        raise TargetError(f"adb: {hint}")

    def _start(
        self, args: list[str], stdin: IO[bytes] | int = subprocess.DEVNULL, stdout: IO[bytes] | int = PIPE
    ) -> Process:
        try:
            return subprocess.Popen([*self._adb, *args], stdin=stdin, stdout=stdout, stderr=PIPE)
        except FileNotFoundError:
            what = f"no program {self._adb[0]!r} here: install Android's platform tools"
            raise TargetError(f"{self.name}: {what}") from None

    def start(self, script: str, stdin: IO[bytes] | int = PIPE, stdout: IO[bytes] | int = PIPE) -> Process:
        """`adb shell -T`: without a terminal, output and exit status apart."""
        return self._start(["shell", "-T", script], stdin, stdout)

    def broke(self, status: int, stderr: bytes) -> bool:
        """adb exits with 1 for its own failures too, and says so in its own name."""
        return status == 1 and stderr.lstrip().startswith((b"error:", b"adb:"))

    def send(self, local: Path, remote: str) -> None:
        """`adb push`; its server on the device deletes what arrived in part."""
        push = self._start(["push", str(local), remote])
        complete(self, push, f"pushing {local.name}", push_seconds(local))

    def fetch(self, remote: str, local: Path) -> None:
        """`adb pull`."""
        part = local.with_name(f"{local.name}.part")
        try:
            complete(self, self._start(["pull", remote, str(part)]), f"pulling {remote}", 3600.0)
            part.replace(local)
        finally:
            part.unlink(missing_ok=True)

    def close(self) -> None:
        """adb's server keeps running: it is the user's."""


def serials() -> list[str]:
    """Serial numbers of the devices that adb has; empty when there is no adb."""
    command = [*shlex.split(os.environ.get("EDGEQ_ADB", "adb")), "devices"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return []
    return [line.split("\t")[0] for line in done.stdout.splitlines() if line.endswith("\tdevice")]


def open_adb(serial: str | None = None, folder: str | None = None) -> ShellDevice:
    """The device of that serial number, or the only one; TargetError when it is not there."""
    return ShellDevice(AdbLink(serial), folder)
