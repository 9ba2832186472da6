"""The interface of a device and how one is named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edgeq.devices.facts import DeviceFacts
from edgeq.errors import UsageError

SPECS = "local | qemu[:cpu] | ssh://[user@]host[:port] | adb[:serial] | pool:[host:port/]name"


@dataclass(frozen=True)
class Completed:
    """A program that ended on a device: its output, and its exit status (128 + n when signal n ended it)."""

    stdout: bytes
    stderr: bytes
    status: int


@dataclass(frozen=True)
class Cleaned:
    """What was deleted: everything of edgeq's in `folder`, absolute on the device, and the bytes of disk it took."""

    folder: str
    bytes: int


class Device(Protocol):
    """A machine with a folder of edgeq's. Paths on it are relative to that folder, which is where programs run.

    Every method raises TargetError, in one line, when the device is absent or unreachable or its link is cut; then it
    leaves neither half a file nor a running program there.

    Attributes:
        name: the spec it was opened with.
        emulated: no real processor runs it, so nothing measured there is a time.
    """

    name: str
    emulated: bool

    def describe(self, measure: bool = True) -> DeviceFacts:
        """What it is; `measure` takes seconds more, for bandwidth and the int8 peak."""

    def push(self, local: Path, remote: str) -> bool:
        """Copy a file there unless one of the same hash is there; True when its bytes moved."""

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """Run a program (`runner`, a path in the device's folder) there; TargetError when it takes longer."""

    def pull(self, remote: str, local: Path) -> None:
        """Copy a file here."""

    def remove(self, remote: str) -> None:
        """Delete a file or folder there; harmless when it is not there."""

    def clean(self) -> Cleaned:
        """Delete what edgeq has put there, and the folder if that leaves it empty; then only `close` is of use."""

    def close(self) -> None:
        """End the connection; pushed files stay."""

    def __enter__(self) -> Device: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


def open_device(spec: str, folder: str | None = None) -> Device:
    """The device that `spec` names: one of SPECS.

    Args:
        spec: as `--device` takes it.
        folder: of edgeq on the device; None: `~/.cache/edgeq/device`, under Android `/data/local/tmp/edgeq`.

    Raises:
        UsageError: a spec that means nothing.
        TargetError: the device is absent, unreachable, or of a kind that edgeq has no target for.
    """
    kind, _, rest = spec.partition(":")
    if spec == "local":
        from edgeq.devices.local import open_local

        return open_local(folder)
    if kind == "qemu":
        from edgeq.devices.qemu import open_qemu

        return open_qemu(rest or None, folder)
    if kind == "ssh" and rest.startswith("//"):
        from edgeq.devices.ssh import open_ssh

        return open_ssh(spec, folder)
    if kind == "adb":
        from edgeq.devices.adb import open_adb

        return open_adb(rest or None, folder)
    if kind == "pool" and rest:
        from edgeq.devices.pool import open_pool

        return open_pool(rest)
    raise UsageError(f"no device {spec!r}; give {SPECS}")
