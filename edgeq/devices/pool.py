"""A device of a pool: whichever of that name is free next, for as long as it is open; others wait in TVM's tracker."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from edgeq.devices.device import Cleaned, Completed
from edgeq.devices.facts import DeviceFacts
from edgeq.devices.hashing import xxh64
from edgeq.devices.pool_job import BLOCK
from edgeq.devices.pool_server import FUNCTION, raised
from edgeq.devices.tracker import check_key, connect, default_address, parse_address
from edgeq.errors import TargetError, UsageError

POLL_S = 1.0
LONGEST_S = 6 * 3600.0  # then TVM ends the session of a client that hangs


class PoolDevice:
    """See `Device`. What it calls runs in the process that `edgeq devices serve` started."""

    emulated = False

    def __init__(self, name: str, address: tuple[str, int], key: str) -> None:
        """Waits until a device of the name `key` is free."""
        self.name = name
        tracker = connect(address)
        try:
            check_key(tracker, key, name)
            self._session = tracker.request(key, session_timeout=LONGEST_S)
            self._function = self._session.get_function(FUNCTION)
        except (RuntimeError, OSError, AttributeError) as error:
            raise TargetError(f"{name}: {_first_line(error)}") from None
        finally:
            tracker.close()

    def _call(self, call: str, **arguments: object) -> Any:
        if self._function is None:
            raise UsageError(f"{self.name} is closed")
        try:
            answer = str(self._function(json.dumps({"call": call, **arguments})))
        except Exception as error:  # TVM raises what it likes when the other side is gone
            raise TargetError(f"{self.name}: the link failed while calling {call}: {_first_line(error)}") from None
        return raised(json.loads(answer))

    def describe(self, measure: bool = True) -> DeviceFacts:
        """See `Device`."""
        return replace(DeviceFacts.from_json(self._call("describe", measure=measure)), name=self.name)

    def push(self, local: Path, remote: str) -> bool:
        """See `Device`."""
        if self._call("holds", remote=remote, xxh64=xxh64(local)):
            return False
        with local.open("rb") as file:
            while block := file.read(BLOCK):
                self._call("append", data=base64.b64encode(block).decode())
        return bool(self._call("place", remote=remote, mode=0o755 if os.access(local, os.X_OK) else 0o644))

    def run(self, argv: Sequence[str], *, timeout_s: float) -> Completed:
        """See `Device`."""
        self._call("start", argv=list(argv), timeout_s=timeout_s)
        while (done := self._call("poll", wait_s=POLL_S)) is None:
            pass
        return Completed(base64.b64decode(done["stdout"]), base64.b64decode(done["stderr"]), done["status"])

    def pull(self, remote: str, local: Path) -> None:
        """See `Device`."""
        self._call("fetch", remote=remote)
        part = local.with_name(f"{local.name}.part")
        try:
            with part.open("wb") as file:
                while block := base64.b64decode(self._call("read", offset=file.tell())):
                    file.write(block)
            part.replace(local)
        finally:
            part.unlink(missing_ok=True)

    def remove(self, remote: str) -> None:
        """See `Device`."""
        self._call("remove", remote=remote)

    def clean(self) -> Cleaned:
        """See `Device`."""
        return Cleaned(**self._call("clean"))

    def close(self) -> None:
        """Give the device to whoever is next."""
        if self._function is not None:
            self._call("close")
        self._function = self._session = None  # TVM closes the connection with the last reference

    def __enter__(self) -> PoolDevice:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.close()
        except TargetError:
            if error is None:
                raise


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def open_pool(rest: str) -> PoolDevice:
    """The device `[host:port/]name`; UsageError for another form, TargetError when the pool has none of that name."""
    where, slash, key = rest.rpartition("/")
    if not key:
        raise UsageError(f"no device 'pool:{rest}'; give pool:[host:port/]name")
    return PoolDevice(f"pool:{rest}", parse_address(where) if slash else default_address(), key)
