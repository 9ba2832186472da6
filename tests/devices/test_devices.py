"""What every kind of device does: over its real client, with a folder of this machine at the other end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sleeper import Sleeper

from edgeq.devices.device import open_device
from edgeq.errors import TargetError, UsageError


def check_device(spec: str, folder: Path, tmp_path: Path, opened_in: str | None) -> None:
    """Push, push again, run, pull, remove; nothing else is left in `folder`, which `opened_in` names to the device."""
    data = tmp_path / "some data"
    data.write_bytes(os.urandom(300_000))
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$1"; echo seen >&2; cat models/*/data | wc -c; exit 3\n')
    program.chmod(0o755)
    with open_device(spec, opened_in) as device:
        assert device.push(data, "models/it's a/data") and not device.push(data, "models/it's a/data")
        data.write_bytes(data.read_bytes()[:-1] + b"!")
        assert device.push(data, "models/it's a/data"), "changed, of the same size"
        device.push(program, "program")
        done = device.run(["program", "a 'word'"], timeout_s=30)
        assert (done.stdout.decode().split("\n")[:2], done.stderr, done.status) == (
            ["a 'word'", "300000"],
            b"seen\n",
            3,
        )
        device.pull("models/it's a/data", tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == data.read_bytes()
        facts = device.describe(measure=False)
        assert facts.arch == os.uname().machine and facts.memory_bytes > 0 and facts.features and not facts.emulated
        device.remove("models")
        device.remove("models")
    assert sorted(path.name for path in folder.iterdir()) == ["probe", "program"]


def test_this_machine(tmp_path):
    check_device("local", tmp_path / "the device", tmp_path, str(tmp_path / "the device"))


def test_wired(wired, tmp_path):
    check_device(wired.spec, wired.folder, tmp_path, str(wired.folder))


def test_cleaning_leaves_nothing(wired, tmp_path):
    (tmp_path / "data").write_bytes(os.urandom(300_000))
    with open_device(wired.spec, str(wired.folder)) as device:
        device.push(tmp_path / "data", "models/a/data")
        cleaned = device.clean()
    assert cleaned.folder == str(wired.folder) and 300_000 <= cleaned.bytes < 2_000_000
    assert not wired.folder.exists()


def test_a_program_that_takes_too_long_is_ended(tmp_path):
    with open_device("local", str(tmp_path)) as device:
        sleeper = Sleeper(tmp_path)
        with pytest.raises(TargetError, match="sleeper took over 2 s"):
            device.run(["sleeper"], timeout_s=2.0)
        assert sleeper.started() and not sleeper.alive()


def test_paths_stay_inside_the_folder(tmp_path):
    with open_device("local", str(tmp_path)) as device:
        for path in ("../x", "/etc/passwd", ".", "-rf"):
            with pytest.raises(UsageError):
                device.remove(path)


@pytest.mark.parametrize(
    "spec", ["", "locals", "ssh:host", "ssh://", "ssh://-oProxyCommand=x", "ssh://h:port", "usb:1"]
)
def test_specs_that_mean_nothing(spec):
    with pytest.raises(UsageError, match="no device"):
        open_device(spec)
