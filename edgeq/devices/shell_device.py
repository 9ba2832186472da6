"""A device behind a link to its shell: a folder of ours there, and one small program, the probe."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType

from edgeq.devices import guarded
from edgeq.devices.device import Cleaned, Completed
from edgeq.devices.facts import DeviceFacts
from edgeq.devices.hashing import xxh64
from edgeq.devices.link import Link, script
from edgeq.devices.programs import probe
from edgeq.devices.reading import read_facts
from edgeq.errors import TargetError, UsageError

STALE_S = 600
MEASURE_S = 300.0


class ShellDevice:
    """See `Device`. The connection is made, the folder cleaned of stale halves and the probe pushed when it is opened.

    Attributes:
        name: the spec. folder: absolute path of edgeq's folder there. arch: `uname -m`.
    """

    emulated = False

    def __init__(self, link: Link, folder: str | None = None) -> None:
        self.name = link.name
        self._link = link
        try:
            self.folder, self.arch, hashed = self._enter([shlex.quote(folder)] if folder else list(link.folders))
            local = probe(self.arch)
            if hashed != xxh64(local):
                self._send(local, "probe", verify=False)
                self._script(f"./probe sweep . {STALE_S}", "cleaning its folder")
        except BaseException:
            link.close()
            raise

    def _enter(self, folders: list[str]) -> tuple[str, str, str]:
        """(the first folder that can be written to, `uname -m`, hash of the probe there); stale halves are deleted."""
        enter = 'mkdir -p "$d" 2>/dev/null && [ -w "$d" ] && cd "$d" && pwd && uname -m && found=1 && break'
        otherwise = f"{_why_not(folders)}; exit 1"
        clean = f"[ ! -x probe ] || {{ ./probe sweep . {STALE_S}; ./probe hash probe; }}"
        text = f'for d in {" ".join(folders)}; do {enter}; done; [ "$found" ] || {{ {otherwise}; }}; {clean} || :'
        printed = script(self._link, text, "opening its folder").decode().splitlines()
        return printed[0], printed[1], "".join(printed[2:]).partition(" ")[0]

    def describe(self, measure: bool = True) -> DeviceFacts:
        """See `Device`."""
        printed = self._printed("facts", 60.0)
        return read_facts(self.name, printed, self._printed("rates", MEASURE_S) if measure else None)

    def _printed(self, what: str, timeout_s: float) -> dict[str, object]:
        done = self.run(["probe", what], timeout_s=timeout_s)
        if done.status:
            raise TargetError(f"{self.name}: its probe failed ({what}): {done.stderr.decode(errors='replace').strip()}")
        return dict(json.loads(done.stdout))

    def push(self, local: Path, remote: str) -> bool:
        """See `Device`."""
        if self.holds(remote, xxh64(local)):
            return False
        self._send(local, remote, verify=True)
        return True

    def holds(self, remote: str, xxh64: str) -> bool:
        """Whether a file of this hash is there."""
        return self._script(f"./probe hash {_inside(remote)}", f"hashing {remote}").split()[0] == xxh64.encode()

    def _send(self, local: Path, remote: str, verify: bool) -> None:
        """Under a name of its own, renamed when it arrived whole: nobody ever sees half a file."""
        path = _inside(remote)
        part = f"{remote}.part-{os.getpid()}-{time.time_ns()}"
        folder = str(PurePosixPath(remote).parent)
        if folder != ".":
            self._script(f"mkdir -p {shlex.quote(folder)}", f"making {folder}")
        self._link.send(local, f"{self.folder}/{part}")
        damaged = 'rm -f "$p"; echo arrived damaged >&2; exit 1'
        same = f'case "$(./probe hash "$p")" in {xxh64(local)}*) ;; *) {damaged};; esac' if verify else ":"
        mode = "755" if os.access(local, os.X_OK) else "644"
        self._script(f'p={shlex.quote(part)}; {same}; chmod {mode} "$p" && mv -f "$p" {path}', f"placing {remote}")

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """See `Device`."""
        program = " ".join([_inside(argv[0], "./"), *map(shlex.quote, argv[1:])])
        process = self._link.start(f"{self._cd()} && exec ./probe guard {timeout_s:.3f} {program}")
        return guarded.complete(self._link, process, argv[0], timeout_s)

    def pull(self, remote: str, local: Path) -> None:
        """See `Device`."""
        _inside(remote)
        self._link.fetch(f"{self.folder}/{remote}", local)

    def remove(self, remote: str) -> None:
        """See `Device`."""
        self._script(f"rm -rf {_inside(remote)}", f"removing {remote}")

    def clean(self) -> Cleaned:
        """See `Device`."""
        sizes = "n=0; for f in models probe; do [ ! -e $f ] || { set -- $(du -sk $f); n=$((n + $1)); }; done; echo $n"
        printed = self._script(f"{sizes}; rm -rf models probe", "deleting what edgeq put there").split()
        script(self._link, f"rmdir {shlex.quote(self.folder)} 2>/dev/null || :", "removing its folder")
        return Cleaned(self.folder, int(printed[0]) * 1024)

    def close(self) -> None:
        """See `Device`."""
        self._link.close()

    def __enter__(self) -> ShellDevice:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _cd(self) -> str:
        return f"cd {shlex.quote(self.folder)}"

    def _script(self, text: str, doing: str) -> bytes:
        return script(self._link, f"{self._cd()} && {{ {text}; }}", doing)


def _why_not(folders: Sequence[str]) -> str:
    """Shell code that says on stderr why no folder can be used: of one that was given, what making it failed with."""
    if len(folders) > 1:
        return "echo 'no folder to write to: give --device-dir' >&2"
    reason = '$(mkdir -p "$d" 2>&1) && why="not writable"'
    return f"""why={reason}; echo "--device-dir $d: $(echo "$why" | tail -n 1); name a folder to write to" >&2"""


def _inside(remote: str, prefix: str = "") -> str:
    """Quoted path in the device's folder; UsageError for one that leads out of it."""
    path = PurePosixPath(remote)
    if path.is_absolute() or ".." in path.parts or not path.parts or remote.startswith("-"):
        raise UsageError(f"{remote!r} is not a path inside the device's folder")
    return shlex.quote(prefix + remote)
