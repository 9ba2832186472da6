"""Pools: TVM's tracker and server queue jobs for a device that a process of ours owns."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import threading
import time
from itertools import pairwise

import pytest
from sleeper import Sleeper, soon

from edgeq.devices.device import open_device
from edgeq.devices.pool_job import Job
from edgeq.devices.pool_server import handle, raised
from edgeq.devices.tracker import NEEDS, parse_address
from edgeq.errors import TargetError, UsageError

CLIENT = """
import sys
from edgeq.devices.device import open_device
with open_device(sys.argv[1]) as device:
    device.run(["sleeper"], timeout_s=300)
"""
SERVE = "from edgeq.cli import main; main()"


@pytest.fixture(scope="module")
def tracker():
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"TVM's tracker needs {', '.join(missing)}")
    from tvm.rpc.tracker import Tracker

    running = Tracker("127.0.0.1", port=29300, port_end=29900, silent=True)
    yield f"127.0.0.1:{running.port}"
    running.terminate()


@pytest.fixture(scope="module")
def pool(tracker, tmp_path_factory):
    """(spec, folder) of this machine, lent as `box` by the command line."""
    folder = tmp_path_factory.mktemp("pool") / "the device"
    command = ["devices", "serve", "local", "--tracker", tracker, "--key", "box", "--device-dir", str(folder)]
    server = subprocess.Popen([sys.executable, "-c", SERVE, *command], stderr=subprocess.PIPE, text=True)
    assert "lending local" in server.stderr.readline()
    spec = f"pool:{tracker}/box"
    assert soon(lambda: is_there(spec))
    yield spec, folder
    server.terminate()
    server.wait(30)


def is_there(spec):
    try:
        open_device(spec).close()
    except TargetError as error:
        assert "no such device" in str(error)
        return False
    return True


def test_it_is_a_device(pool, tmp_path):
    from test_devices import check_device

    check_device(pool[0], pool[1], tmp_path, opened_in=None)


def test_two_jobs_wait_for_each_other(pool):
    times = []

    def job():
        with open_device(pool[0]) as device:
            began = time.monotonic()
            device.describe(measure=False)
            time.sleep(0.2)
            times.append((began, time.monotonic()))

    jobs = [threading.Thread(target=job) for _ in range(3)]
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join(60)
    times.sort()
    assert len(times) == 3 and all(first[1] <= second[0] for first, second in pairwise(times))


def test_a_client_that_dies_leaves_nothing_running(pool, tmp_path):
    sleeper = Sleeper(tmp_path)
    with open_device(pool[0]) as device:
        device.push(sleeper.program, "sleeper")
    client = subprocess.Popen([sys.executable, "-c", CLIENT, pool[0]])
    assert soon(sleeper.started)
    client.kill()
    client.wait()
    assert soon(lambda: not sleeper.alive())
    with open_device(pool[0]) as device:  # and the pool has the device back
        device.remove("sleeper")


def test_a_client_may_clean_and_the_next_one_finds_its_folder_again(pool):
    spec, folder = pool
    with open_device(spec) as device:
        device.describe(measure=False)
        assert device.clean().folder == str(folder)
    with open_device(spec) as device:
        assert device.describe(measure=False).cores >= 1


def test_what_is_not_in_the_pool_is_not_waited_for(pool, tracker):
    with pytest.raises(TargetError, match="no such device in the pool; it has box"):
        open_device(f"pool:{tracker}/other")


def test_no_tracker_is_one_line():
    with pytest.raises(TargetError, match=r"no tracker at 127\.0\.0\.1:1 "):
        open_device("pool:127.0.0.1:1/box")


def test_calls_answer_errors_as_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = Job("local", str(tmp_path / "device"))
    for request, expected in (
        ({"call": "__init__"}, UsageError),
        ({"call": "remove", "remote": "../x"}, UsageError),
        ({"call": "poll", "wait_s": 0}, TargetError),
    ):
        with pytest.raises(expected):
            raised(json.loads(handle(job, json.dumps(request))))
    assert raised(json.loads(handle(job, json.dumps({"call": "remove", "remote": "x"})))) is None


@pytest.mark.parametrize("text", ["", ":1", "host:port"])
def test_addresses(text):
    with pytest.raises(UsageError):
        parse_address(text)
    assert parse_address("h") == ("h", 9190)
