"""Waits for a program under `probe guard`: keeps telling it that the host is there, and reads how it ended."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time

from edgeq.devices.device import Completed
from edgeq.devices.link import Link, Process, end
from edgeq.errors import TargetError

HEARTBEAT_S = 1.0
GRACE_S = 30.0
TRAILER = b"\nedgeq-guard: "
CANNOT_RUN = (126, 127)  # of a POSIX shell


def complete(link: Link, process: Process, program: str, timeout_s: float) -> Completed:
    """Wait for the program; TargetError when it takes longer or the link is cut. Whatever happens, the client ends."""
    try:
        stdout, stderr = _communicate(process, timeout_s + GRACE_S)
    except subprocess.TimeoutExpired:
        what = f"{program} did not end within {timeout_s + GRACE_S:.0f} s and nothing was heard of it"
        raise TargetError(f"{link.name}: {what}: the link is cut") from None
    finally:
        end(process)
    head, found, tail = stderr.rpartition(TRAILER)
    if not found:
        raise TargetError(_lost(link, program, process.returncode, stderr))
    how, status = tail.split()[:2]
    if how == b"timeout":
        raise TargetError(f"{link.name}: {program} took over {timeout_s:.0f} s and was ended")
    if how == b"link":
        raise TargetError(f"{link.name}: the link was cut while {program} ran; it was ended")
    return Completed(stdout, head, int(status))


def _communicate(process: Process, timeout_s: float) -> tuple[bytes, bytes]:
    """Output and errors, a byte a second into stdin meanwhile; TimeoutExpired."""
    output: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def read(name: str) -> None:
        with contextlib.suppress(ValueError, OSError):  # closed by the one that gave up
            output[name] = getattr(process, name).read()

    readers = [threading.Thread(target=read, args=(name,), daemon=True) for name in output]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            process.wait(HEARTBEAT_S)
            break
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise
            _beat(process)
    for reader in readers:
        reader.join(GRACE_S)
    return output["stdout"], output["stderr"]


def _beat(process: Process) -> None:
    assert process.stdin is not None  # started with pipes
    with contextlib.suppress(BrokenPipeError):  # it has just ended
        process.stdin.write(b"\n")
        process.stdin.flush()


def _lost(link: Link, program: str, status: int, stderr: bytes) -> str:
    """Without the guard's last line: the guard could not be started, or the link is gone."""
    said = stderr.decode(errors="replace").strip().splitlines()
    why = f": {said[-1]}" if said else ""
    if status in CANNOT_RUN and not link.broke(status, stderr):
        return f"{link.name}: cannot run {program}{why}; does its folder allow programs? give --device-dir"
    return f"{link.name}: the link was cut while {program} ran{why}"
