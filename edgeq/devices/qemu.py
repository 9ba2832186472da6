"""An emulated AArch64 processor as a device: programs run under qemu's user emulation, in a folder of this machine."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any

from edgeq.devices.device import Cleaned, Completed
from edgeq.devices.facts import DeviceFacts
from edgeq.devices.hashing import xxh64
from edgeq.devices.programs import probe
from edgeq.devices.reading import meminfo
from edgeq.errors import TargetError, UsageError
from edgeq.lower.objects import cache_folder
from edgeq.modelled.architecture import ARM64
from edgeq.modelled.counter import emulate

CPU = ARM64.cpu
"""Of a spec that names none: its instructions are those of most ARM devices in use."""


class QemuDevice:
    """See `Device`. Only static programs run: there are no AArch64 libraries here.

    Attributes:
        cpu: as qemu calls it. folder: where pushed files lie, here.
    """

    emulated = True

    def __init__(self, cpu: str, folder: Path) -> None:
        """Raises TargetError without an emulator, UsageError for a CPU that it does not know."""
        self.cpu, self.folder, self.name = cpu, folder, f"qemu:{cpu}"
        self._command = emulate(cpu)
        _make(folder)
        self.push(probe("aarch64"), "probe")
        self._printed = self._facts()

    def _facts(self) -> dict[str, Any]:
        done = self.run(["probe", "facts"], timeout_s=60.0)
        said = done.stderr.decode(errors="replace").strip()
        if b"CPU model" in done.stderr:
            raise UsageError(f"{self.name}: {said}; try cortex-a53, cortex-a72, cortex-a76, neoverse-n1 or max")
        if done.status:
            raise TargetError(f"{self.name}: its probe failed: {said}")
        return dict(json.loads(done.stdout))

    def describe(self, measure: bool = True) -> DeviceFacts:
        """See `Device`. Nothing is measured, whatever `measure` says: emulated time is no time."""
        facts = self._printed
        total, available = (meminfo(facts["files"], field) for field in ("MemTotal", "MemAvailable"))
        return DeviceFacts(
            self.name, f"emulated {self.cpu}", (), facts["arch"], facts["system"], facts["cores"], total, available,
            cache_bytes={}, features=tuple(facts["features"].split()), emulated=True,
        )  # fmt: skip

    def push(self, local: Path, remote: str) -> bool:
        """See `Device`."""
        path = self._inside(remote)
        if path.is_file() and path.stat().st_size == local.stat().st_size and xxh64(path) == xxh64(local):
            return False
        _copy(local, path)
        return True

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """See `Device`."""
        command = [*self._command, str(self._inside(argv[0])), *argv[1:]]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, cwd=self.folder, start_new_session=True, **pipes)  # type: ignore[call-overload]
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise TargetError(f"{self.name}: {argv[0]} took over {timeout_s:.0f} s and was ended") from None
        finally:
            _end(process)
        status = process.returncode
        return Completed(stdout, stderr, status if status >= 0 else 128 - status)

    def pull(self, remote: str, local: Path) -> None:
        """See `Device`."""
        path = self._inside(remote)
        if not path.is_file():
            raise TargetError(f"{self.name}: pulling {remote}: no such file")
        _copy(path, local)

    def remove(self, remote: str) -> None:
        """See `Device`."""
        path = self._inside(remote)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def clean(self) -> Cleaned:
        """See `Device`."""
        there = [self.folder / "probe", *(p for p in (self.folder / "models").rglob("*") if p.is_file())]
        size = sum(path.stat().st_size for path in there)
        for name in ("models", "probe"):
            self.remove(name)
        with contextlib.suppress(OSError):  # others' files stay, and with them the folder
            self.folder.rmdir()
        return Cleaned(str(self.folder), size)

    def close(self) -> None:
        """See `Device`."""

    def __enter__(self) -> QemuDevice:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _inside(self, remote: str) -> Path:
        path = PurePosixPath(remote)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise UsageError(f"{remote!r} is not a path inside the device's folder")
        return self.folder / path


def open_qemu(cpu: str | None = None, folder: str | None = None) -> QemuDevice:
    """The emulated `cpu` (default CPU); `folder` defaults to one in edgeq's cache. Raises as QemuDevice."""
    return QemuDevice(cpu or CPU, Path(folder).resolve() if folder else cache_folder() / "device-qemu")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise TargetError(f"cannot make the device's folder {folder}: {e.strerror}") from e


def _copy(source: Path, to: Path) -> None:
    """Under a name of its own, renamed when it is whole."""
    _make(to.parent)
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".part-") as folder:
        fresh = Path(folder) / to.name
        try:
            shutil.copy(source, fresh)
        except OSError as e:
            raise TargetError(f"copying {source.name} to {to.parent}: {e.strerror}") from e
        os.replace(fresh, to)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Whatever it started ends with it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
