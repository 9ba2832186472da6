"""Profiles measured by a program on the device: the same object as in this process, and nothing pushed twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import edgeq
from edgeq.artifact.manifest import read
from edgeq.cli.app import app
from edgeq.cli.profile import text
from edgeq.devices.device import open_device
from edgeq.devices.facts import DeviceFacts
from edgeq.devices.profile import check_target, folder_of, profile_on, runner_options
from edgeq.errors import ArtifactError, TargetError, UsageError
from edgeq.measure.profile import Settings, profile

QUICK = Settings(prefill=(48, 16), decode=8, budget_s=0.05, repeats=2, threads=2)


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    with open_device("local", str(tmp_path_factory.mktemp("device"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def measured(device, tiny_artifact):
    return profile_on(device, tiny_artifact, QUICK)


def shape(value: object) -> object:
    """Its keys and types; numbers are numbers, as a median may come out whole."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_it_is_the_object_of_a_profile_in_this_process(measured, tiny_artifact):
    here = profile(tiny_artifact, QUICK)
    assert here["device"] == {"spec": "local", "how": "in this process"}
    assert measured["device"]["how"] == "its own program on the device" and measured["device"]["features"]
    same = {key: shape(value) for key, value in measured.items() if key not in ("device", "memory")}
    assert same == {key: shape(value) for key, value in here.items() if key != "device"}
    assert list(measured["tokens_per_second"]) == ["prefill_48", "prefill_16", "decode_8"]
    for name, ops in here["entries"].items():
        facts = [(op["name"], op["regions"], op["weight_bytes"], op["ops"]) for op in ops]
        assert [(o["name"], o["regions"], o["weight_bytes"], o["ops"]) for o in measured["entries"][name]] == facts


def test_it_measures_what_it_names(measured):
    assert measured["threads"] == 2 and measured["first_token"]["prompt_tokens"] == 64
    rates = measured["tokens_per_second"].values()
    assert all(2 <= len(rate["samples"]) <= 30 and min(rate["samples"]) > 0 for rate in rates)
    assert all(op["us"] > 0 for ops in measured["entries"].values() for op in ops)
    memory = measured["memory"]
    assert memory["VmHWM"] >= memory["VmRSS"] > memory["VmRSS_before_load"] > 0
    assert measured["resident"]["artifact_bytes"] == memory["VmHWM"] - memory["VmRSS_before_load"]
    assert "prefill 48" in text(measured)


def test_only_what_changed_is_pushed(device, measured, tiny_artifact, tiny_model, tmp_path):
    assert profile_on(device, tiny_artifact, QUICK)["device"]["pushed"] == []
    again = edgeq.compile(str(tiny_model), bits="w4a8", output=tmp_path / "again", context=64, chunk=8).path
    assert profile_on(device, again, QUICK)["device"]["pushed"] == ["runner"]


def test_static_entries(device, tmp_path):
    import transformers

    config = transformers.BertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, vocab_size=20,
        max_position_embeddings=16,
    )  # fmt: skip
    transformers.BertModel(config).eval().save_pretrained(tmp_path / "bert")
    path = edgeq.compile(str(tmp_path / "bert"), bits="fp32", output=tmp_path / "out", lengths=(8,)).path
    found = profile_on(device, path, Settings(budget_s=0.02, repeats=3, threads=1))
    names = [entry["name"] for entry in read(path).to_json()["entries"]]
    assert list(found["latency"]) == names and found["tokens_per_second"] == {} and found["first_token"] is None
    assert all(3 <= entry["runs"] <= 200 and entry["p50_seconds"] > 0 for entry in found["latency"].values())
    assert all(op["us"] > 0 for ops in found["entries"].values() for op in ops)


def test_refusals_come_back_typed(device, tiny_artifact):
    with pytest.raises(UsageError, match="local: no variant nonsense"):
        profile_on(device, tiny_artifact, Settings(variant="nonsense"))
    with pytest.raises(UsageError, match="do not fit"):
        profile_on(device, tiny_artifact, Settings(decode=1000))


def test_an_artifact_for_another_machine_is_refused_before_anything_is_pushed(tiny_artifact):
    manifest = read(tiny_artifact)
    other = {"x86-64": "aarch64", "arm64": "x86_64"}[manifest.target]
    facts = DeviceFacts("adb:1", "", (), other, "", 1, 0, 0, {}, ())
    with pytest.raises(TargetError, match=f"was compiled for {manifest.target}, adb:1 is .*: compile with --target"):
        check_target(manifest, facts, tiny_artifact)


def test_weights_damaged_on_the_device_are_noticed(device, measured, tiny_artifact):
    folder = Path(device.folder) / folder_of(read(tiny_artifact))
    weights = bytearray((folder / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(weights)
    done = device.run([f"{folder_of(read(tiny_artifact))}/runner", str(folder)], timeout_s=60)
    assert done.status == ArtifactError.exit_code and b"it is damaged" in done.stderr
    assert profile_on(device, tiny_artifact, QUICK)["device"]["pushed"] == ["weights.safetensors"]


def test_options_of_the_program():
    assert runner_options(Settings(prefill=(16, 48), decode=8, budget_s=1, repeats=2, cool_s=3), 64) == (
        ["--prefill", "48,16", "--decode", "8", "--first", "64", "--repeats", "2", "--budget", "1", "--cool", "3"]
    )
    assert "--first" not in runner_options(Settings(prefill=(), decode=None), 0)


def test_the_command_line_measures_over_ssh(sshd, tiny_artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("edgeq.cli.profile.BRIEF_S", 0.05)
    spec = f"ssh://127.0.0.1:{sshd.port}"
    where = ["--device-dir", str(tmp_path / "there")]
    words = ["profile", str(tiny_artifact), "--device", spec, *where, "--prefill", "16", "--decode", "4", "--brief"]
    result = CliRunner().invoke(app, [*words, "--repeats", "2", "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["device"]["spec"] == spec
    result = CliRunner().invoke(app, ["devices", "clean", spec, *where])
    assert result.exit_code == 0 and not (tmp_path / "there").exists()
