"""How bytes and shell scripts reach a device; what is done over a link is the same for all (shell_device.py)."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from subprocess import PIPE
from typing import IO, Protocol

from edgeq.errors import TargetError


class Link(Protocol):
    """A way to run shell scripts on a device and to move files. Paths are absolute, of the device.

    Attributes:
        name: the device's spec.
        folders: where edgeq's folder may be, best first, each an expression of the device's shell.
    """

    name: str
    folders: tuple[str, ...]

    def start(self, script: str, stdin: IO[bytes] | int = PIPE, stdout: IO[bytes] | int = PIPE) -> Process:
        """Start a POSIX shell script there; stderr is a pipe. TargetError when its client is not installed."""

    def broke(self, status: int, stderr: bytes) -> bool:
        """Whether a client that ended so failed itself, rather than the script."""

    def send(self, local: Path, remote: str) -> None:
        """Write a file there; TargetError, leaving no half file, when it fails."""

    def fetch(self, remote: str, local: Path) -> None:
        """Write a file here; TargetError, leaving no half file, when it fails."""

    def close(self) -> None:
        """End the connection."""


Process = subprocess.Popen[bytes]
LAST_WORD = b"edgeq-done"


def script(link: Link, text: str, doing: str, timeout_s: float = 120.0) -> bytes:
    """Run a short script and return what it printed; TargetError (`doing` says what it was for) when it fails.

    Its last word tells that it came to its end: a client whose link was cut may still exit with 0.
    """
    process = link.start(f"{{ {text}\n}} && echo {LAST_WORD.decode()}", stdin=subprocess.DEVNULL)
    stdout = complete(link, process, doing, timeout_s)
    if not stdout.rstrip().endswith(LAST_WORD):
        raise TargetError(f"{link.name}: the link was cut while {doing}")
    return stdout.rstrip().removesuffix(LAST_WORD)


def complete(link: Link, process: Process, doing: str, timeout_s: float) -> bytes:
    """Wait for a client and return its output; TargetError when it fails or takes longer."""
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise TargetError(f"{link.name}: {doing} took over {timeout_s:.0f} s; is the device still there?") from None
    finally:
        end(process)
    if process.returncode:
        raise TargetError(failure(link, doing, process.returncode, stderr or stdout or b""))  # adb push uses stdout
    return stdout or b""


def end(process: Process) -> None:
    """Kill a client that still runs (Ctrl-C, a timeout): its end of the pipes closes, and the device notices."""
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def failure(link: Link, doing: str, status: int, stderr: bytes) -> str:
    """One line for a client that failed."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    # adb begins with what is wrong and goes on with advice; others end with what is wrong.
    why = next((line for line in lines if line.startswith("error:")), lines[-1] if lines else f"status {status}")
    return f"{link.name}: {'the link failed while ' if link.broke(status, stderr) else ''}{doing}: {why}"


class PipeLink:
    """Files go through the stdin and stdout of `cat`: for links whose pipes carry any bytes."""

    name: str
    folders: tuple[str, ...] = ('"$HOME/.cache/edgeq/device"', '"${TMPDIR:-/tmp}/edgeq-device-$(id -u)"')

    def start(self, script: str, stdin: IO[bytes] | int = PIPE, stdout: IO[bytes] | int = PIPE) -> Process:
        """As `Link`."""
        raise NotImplementedError  # what each such link adds

    def broke(self, status: int, stderr: bytes) -> bool:
        """As `Link`."""
        raise NotImplementedError  # what each such link adds

    def send(self, local: Path, remote: str) -> None:
        """The device's shell counts what arrives, and removes it when the link was cut before the last byte."""
        # `exit` inside a trap runs the trap of EXIT; dash, toybox's mksh and busybox agree on these four signals.
        text = (
            f"""p={shlex.quote(remote)}; trap 'rm -f "$p"' EXIT; trap 'exit 1' HUP INT TERM PIPE; """
            f"""cat > "$p" && [ "$(wc -c < "$p")" -eq {local.stat().st_size} ] || exit 1; trap - EXIT"""
        )
        with local.open("rb") as file:
            complete(self, self.start(text, stdin=file), f"pushing {local.name}", push_seconds(local))

    def fetch(self, remote: str, local: Path) -> None:
        """Written beside and renamed when it is whole."""
        part = local.with_name(f"{local.name}.part")
        try:
            with part.open("wb") as file:
                process = self.start(f"cat {shlex.quote(remote)}", stdin=subprocess.DEVNULL, stdout=file)
                complete(self, process, f"pulling {remote}", 3600.0)
            part.replace(local)
        finally:
            part.unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing to end."""


def push_seconds(local: Path) -> float:
    """Bound for pushing a file: 100 KB a second is slower than any link worth measuring over."""
    return 60.0 + local.stat().st_size / 1e5
