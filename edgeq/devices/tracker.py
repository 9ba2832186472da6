"""The queue of a pool: TVM's RPC tracker, which knows devices by name and hands each to one client at a time."""

from __future__ import annotations

import importlib.util
import os
import socket
from typing import Any

from edgeq.errors import TargetError, UsageError

PORT = 9190  # of `python -m tvm.rpc.tracker`
CONNECT_S = 5.0
NEEDS = ("tornado", "cloudpickle", "psutil")


def parse_address(text: str) -> tuple[str, int]:
    """`HOST[:PORT]` -> (host, port); raises UsageError."""
    host, _, port = text.partition(":")
    if not host or (port and not port.isdecimal()):
        raise UsageError(f"no tracker {text!r}; give HOST:PORT")
    return host, int(port or PORT)


def default_address() -> tuple[str, int]:
    """`$TVM_TRACKER_HOST` and `$TVM_TRACKER_PORT`, as TVM's own tools; else this machine."""
    return os.environ.get("TVM_TRACKER_HOST", "127.0.0.1"), int(os.environ.get("TVM_TRACKER_PORT", PORT))


def connect(address: tuple[str, int]) -> Any:
    """`tvm.rpc.TrackerSession`; raises TargetError when no tracker answers there or TVM lacks packages for it."""
    where = f"{address[0]}:{address[1]}"
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise TargetError(f"pools need {', '.join(missing)}: pip install 'edgeq[pool]'")
    try:
        socket.create_connection(address, CONNECT_S).close()  # TVM itself would try for a minute
    except OSError as error:
        hint = "start one: python -m tvm.exec.rpc_tracker --host 127.0.0.1"
        raise TargetError(f"no tracker at {where} ({error.strerror or error}); {hint}") from None
    from tvm.rpc import connect_tracker

    try:
        return connect_tracker(*address)
    except (RuntimeError, OSError) as error:
        raise TargetError(f"{where}: {error}") from None


def check_key(tracker: Any, key: str, name: str) -> None:
    """TargetError when no device of that name is lent, busy or not: a request would wait for ever."""
    names = {str(info["key"]).removeprefix("server:") for info in tracker.summary()["server_info"]}
    if key not in names:
        known = f"it has {', '.join(sorted(names))}" if names else "it has none"
        raise TargetError(f"{name}: no such device in the pool; {known}: edgeq devices serve lends one")
