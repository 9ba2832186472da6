"""A link that is cut in the middle of a push or a run: one clear error, and nothing left behind on the device."""

from __future__ import annotations

import os
import threading

import pytest
from sleeper import Sleeper, soon

from edgeq.devices.device import open_device
from edgeq.errors import TargetError

SIZE = 16 << 20


def test_in_the_middle_of_a_push(wired, tmp_path):
    weights = tmp_path / "weights"
    weights.write_bytes(os.urandom(SIZE))
    with open_device(wired.spec, str(wired.folder)) as device:
        wired.cable.cut_after(SIZE // 2)
        with pytest.raises(TargetError, match="the link failed while pushing weights") as raised:
            device.push(weights, "models/weights")
    assert wired.cable.is_cut.is_set() and wired.cable.forwarded > SIZE // 4
    assert "\n" not in str(raised.value)
    assert soon(lambda: sorted(p.name for p in wired.folder.rglob("*")) == ["models", "probe"])


def test_in_the_middle_of_a_run(wired, tmp_path):
    sleeper = Sleeper(tmp_path)
    with open_device(wired.spec, str(wired.folder)) as device:
        device.push(sleeper.program, "sleeper")
        cut = threading.Thread(target=lambda: soon(sleeper.started) and wired.cable.cut())
        cut.start()
        with pytest.raises(TargetError, match="the link was cut while sleeper ran") as raised:
            device.run(["sleeper"], timeout_s=120)
        cut.join()
    assert sleeper.started() and "\n" not in str(raised.value)
    assert soon(lambda: not sleeper.alive())


def test_the_next_session_deletes_what_a_device_that_lost_power_kept(tmp_path):
    old, young = tmp_path / "models" / "w.part-1-2", tmp_path / "models" / "w.part-3-4"
    old.parent.mkdir()
    for half in (old, young):
        half.write_bytes(b"half")
    os.utime(old, (1, 1))
    with open_device("local", str(tmp_path)):
        assert not old.exists() and young.exists()  # the young one may be someone's push of this moment


def test_an_absent_host_is_one_line(sshd):
    with pytest.raises(TargetError, match=r"^ssh://127.0.0.1:1: the link failed while opening its folder: .*refused"):
        open_device("ssh://127.0.0.1:1")


def test_an_absent_phone_is_one_line(phone):
    with pytest.raises(TargetError, match=r"adb:nowhere: .*not found"):
        open_device("adb:nowhere")
