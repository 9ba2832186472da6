"""The host's side of a pool: a process that owns a device and takes jobs for it from TVM's RPC tracker.

The tracker queues; TVM's server takes one client after another, each in a process of its own, which ends when the
client is gone. A client calls one function, `edgeq.device`, with JSON: `{"call": name, ...}` gives `{"value": ...}` or
`{"error": [class, text]}`. No call lasts long, so that a client that is gone is noticed at once.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from edgeq import errors
from edgeq.devices.device import open_device
from edgeq.devices.pool_job import CALLS, Job
from edgeq.devices.tracker import connect, parse_address
from edgeq.errors import EdgeqError, TargetError

FUNCTION = "edgeq.device"
LOOK_EVERY_S = 5.0


def serve(spec: str, tracker: str, key: str, folder: str | None, say: Callable[[str], None]) -> None:
    """Lend the device to the tracker at `HOST:PORT` under the name `key` until interrupted.

    Raises UsageError for an address that means nothing; TargetError when the device or the tracker cannot be reached,
    or the device is emulated: jobs are measurements.
    """
    address = parse_address(tracker)
    with open_device(spec, folder) as device:
        if device.emulated:
            raise TargetError(f"{spec} is emulated: a pool measures")
    connect(address).close()
    server = _start(spec, address, key, folder)
    say(f"lending {spec} as pool:{tracker}/{key}; Ctrl-C ends it")
    try:
        while server.proc.is_alive():
            time.sleep(LOOK_EVERY_S)
        raise TargetError(f"TVM's server for {spec} has ended")
    finally:
        server.terminate()


def _start(spec: str, address: tuple[str, int], key: str, folder: str | None) -> Any:
    from tvm.rpc import Server

    # Whoever reaches TVM's server may run programs: beyond this machine only where the tracker already is.
    host = "127.0.0.1" if socket.gethostbyname(address[0]).startswith("127.") else "0.0.0.0"
    hand_out = partial(register, spec, folder)
    return Server(host, tracker_addr=address, key=key, server_init_callback=hand_out, silent=True)


def register(spec: str, folder: str | None) -> None:
    """Make FUNCTION known to TVM in this process and those that it forks, one a client."""
    import tvm_ffi

    jobs: list[Job] = []

    def function(request: str) -> str:
        if not jobs:
            jobs.append(Job(spec, folder))
        return handle(jobs[0], request)

    tvm_ffi.register_global_func(FUNCTION, function, override=True)


def handle(job: Job, request: str) -> str:
    """The JSON answer to a JSON request."""
    given = dict(json.loads(request))
    name = given.pop("call")
    if name not in CALLS:
        return json.dumps({"error": ["UsageError", f"no call {name!r}: another version of edgeq?"]})
    try:
        return json.dumps({"value": getattr(job, name)(**given)})
    except EdgeqError as error:
        return json.dumps({"error": [type(error).__name__, str(error)]})
    except Exception as error:  # a fault of ours is told to the client, which can report it; the pool goes on
        return json.dumps({"error": ["EdgeqError", f"unexpected {type(error).__name__}: {error}"]})


def raised(answer: dict[str, Any]) -> Any:
    """The value of an answer; raises the error that it holds."""
    if "error" in answer:
        name, text = answer["error"]
        raise getattr(errors, name, EdgeqError)(text)
    return answer["value"]
