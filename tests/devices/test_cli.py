"""`edgeq devices`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from edgeq.cli.app import app
from edgeq.devices import measurement
from edgeq.devices.at_hand import ssh_hosts
from edgeq.errors import UsageError


def invoke(*words: str):
    return CliRunner().invoke(app, ["devices", *words])


def test_it_lists_what_is_at_hand(monkeypatch):
    monkeypatch.setenv("EDGEQ_ADB", "no-such-adb")
    result = invoke()
    assert result.exit_code == 0 and "local" in result.stdout
    assert all(word in result.stdout for word in ("ssh://", "adb[:serial]", "pool:"))
    assert {"device": "local", "about": "this machine"} in json.loads(invoke("--json").stdout)["devices"]


def test_a_device_is_described(tmp_path):
    result = invoke("local", "--no-measure", "--device-dir", str(tmp_path), "--json")
    (found,) = json.loads(result.stdout)["devices"]
    assert found["name"] == "local" and found["cores"] >= 1 and found["bandwidth"] == []
    shown = invoke("local", "--device-dir", str(tmp_path)).stdout
    assert all(word in shown for word in ("processor:", "features:", "int8 peak:", "threads reading"))


def test_a_word_that_is_no_device():
    result = invoke("toaster")
    assert result.exit_code == 2 and "give local | qemu" in result.stderr


def test_a_measurement_is_a_file_that_loads(tmp_path, tiny_artifact, monkeypatch):
    monkeypatch.setattr(measurement, "BRIEF_S", 0.05)
    found = measurement.measure_device("local", [tiny_artifact], brief=True, folder=str(tmp_path / "there"))
    measurement.write(found, tmp_path / "box.json")
    facts, profiles = measurement.load(tmp_path / "box.json")
    assert facts.bandwidth and facts.int8 and [profile["path"] for profile in profiles] == [str(tiny_artifact)]
    for text in ("", "{}", '{"schema_version": 1, "measured": false}'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(UsageError, match="not a file of `edgeq devices measure`"):
            measurement.load(tmp_path / "other.json")


def test_hosts_of_the_ssh_configuration(tmp_path):
    config = tmp_path / "config"
    config.write_text("Host pi board\n  User me\nhost *.lab !x phone?\nHostName elsewhere\nHost jetson\n")
    assert ssh_hosts(config) == ["pi", "board", "jetson"] and ssh_hosts(tmp_path / "absent") == []


def test_cleaning_says_what_went_and_leaves_no_empty_folder(tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    result = invoke("clean", "local", "--device-dir", str(folder))
    assert result.exit_code == 0 and str(folder) in result.stdout and " 0 bytes" not in result.stdout
    assert not folder.exists()


def test_files_of_others_stay(tmp_path):
    (tmp_path / "mine").write_text("mine")
    assert invoke("clean", "local", "--device-dir", str(tmp_path)).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_folder_that_cannot_be_made_is_named_with_the_reason(tmp_path):
    (tmp_path / "file").write_text("")
    result = invoke("local", "--no-measure", "--device-dir", str(tmp_path / "file" / "x"))
    assert result.exit_code == 7
    assert f"--device-dir {tmp_path}/file/x: " in result.stderr and "Not a directory" in result.stderr


def test_help_shows_where_a_device_goes():
    assert "[DEVICE..." in invoke("--help").stdout
