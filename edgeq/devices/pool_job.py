"""One client's use of a pool's device, in the process that serves it; arguments and results are JSON."""

from __future__ import annotations

import base64
import os
import tempfile
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgeq.devices.device import open_device
from edgeq.devices.shell_device import ShellDevice
from edgeq.errors import EdgeqError, TargetError

BLOCK = 4 << 20
CALLS = ("describe", "holds", "append", "place", "start", "poll", "fetch", "read", "remove", "clean", "close")


class Job:
    """The device is opened at the first call. Files on their way lie in the working folder, which TVM deletes."""

    def __init__(self, spec: str, folder: str | None) -> None:
        self._spec, self._folder = spec, folder
        self._opened: ShellDevice | None = None
        self._running: threading.Thread | None = None
        self._outcome: dict[str, Any] | EdgeqError | None = None
        self._file = Path(tempfile.mkdtemp(dir=os.getcwd())) / "file"

    @property
    def _device(self) -> ShellDevice:
        if self._opened is None:
            opened = open_device(self._spec, self._folder)
            assert isinstance(opened, ShellDevice)  # of what may be lent
            self._opened = opened
        return self._opened

    def describe(self, measure: bool) -> dict[str, Any]:
        """Facts."""
        return self._device.describe(measure).to_json()

    def holds(self, remote: str, xxh64: str) -> bool:
        """Whether a file of this hash is there."""
        return self._device.holds(remote, xxh64)

    def append(self, data: str) -> None:
        """Add bytes (base64) to the file that `place` pushes."""
        with self._file.open("ab") as file:
            file.write(base64.b64decode(data))

    def place(self, remote: str, mode: int) -> bool:
        """Push what was appended."""
        self._file.touch()
        self._file.chmod(mode)
        try:
            return self._device.push(self._file, remote)
        finally:
            self._file.unlink()

    def start(self, argv: list[str], timeout_s: float) -> None:
        """Begin to run a program."""
        device, self._outcome = self._device, None
        self._running = threading.Thread(target=self._run, args=(device, argv, timeout_s), daemon=True)
        self._running.start()

    def _run(self, device: ShellDevice, argv: list[str], timeout_s: float) -> None:
        try:
            done = device.run(argv, timeout_s=timeout_s)
            output = {name: base64.b64encode(getattr(done, name)).decode() for name in ("stdout", "stderr")}
            self._outcome = {**output, "status": done.status}
        except EdgeqError as error:
            self._outcome = error

    def poll(self, wait_s: float) -> dict[str, Any] | None:
        """How the program ended, its output in base64; None while it runs."""
        if self._running is None:
            raise TargetError("no program was started")
        self._running.join(wait_s)
        if isinstance(self._outcome, EdgeqError):
            raise self._outcome
        return self._outcome

    def fetch(self, remote: str) -> None:
        """Pull a file to here; `read` gives its bytes."""
        self._device.pull(remote, self._file)

    def read(self, offset: int) -> str:
        """Base64 of the next BLOCK bytes at most of what was fetched; "" after the last."""
        with self._file.open("rb") as file:
            file.seek(offset)
            return base64.b64encode(file.read(BLOCK)).decode()

    def remove(self, remote: str) -> None:
        """Delete on the device."""
        self._device.remove(remote)

    def clean(self) -> dict[str, Any]:
        """Delete all on the device."""
        return asdict(self._device.clean())

    def close(self) -> None:
        """End the connection to the device."""
        if self._opened is not None:
            self._opened.close()
        self._opened = None
