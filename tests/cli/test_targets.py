"""`edgeq targets`."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from edgeq import targets
from edgeq.cli.app import app
from edgeq.cli.targets import describe
from edgeq.errors import UsageError


def test_json_lists_every_target_with_its_variants():
    result = CliRunner().invoke(app, ["targets", "--json"])
    report = json.loads(result.stdout)
    assert [t["name"] for t in report["targets"]] == [n for n in targets.names() if n != "native"]
    for target in report["targets"]:
        assert [v["name"] for v in target["variants"]] == [isa.name for isa in targets.find(target["name"]).every]
    assert report["machine"]["cores"] >= 1


def test_a_variant_runs_here_only_with_all_it_needs(monkeypatch):
    from edgeq.measure import machine

    here = machine.Machine("cpu", "x86_64", "Linux", 2, 0, 0, frozenset({"avx2", "fma", "f16c"}))
    monkeypatch.setattr(machine, "this_machine", lambda: here)
    monkeypatch.setattr(targets, "native_name", lambda: "x86-64")
    variants = {v["name"]: v["runs_here"] for v in describe()["targets"][0]["variants"]}
    assert variants == {"avx512vpopcnt": False, "avx512vnni": False, "avx2": True, "portable": True}


def test_a_machine_without_a_target_still_gets_the_list(monkeypatch):
    def unknown():
        raise UsageError("no target for this machine")

    monkeypatch.setattr(targets, "native_name", unknown)
    result = CliRunner().invoke(app, ["targets"])
    assert result.exit_code == 0
    assert "no target for this machine" in result.stdout
    assert "x86-64" in result.stdout


@pytest.mark.parametrize(
    ("name", "target"),
    [("aarch64", "arm64"), ("arm64-v8a", "arm64"), ("android", "arm64"), ("x86_64", "x86-64"), ("amd64", "x86-64")],
)
def test_names_that_others_give_a_target(name, target):
    assert targets.find(name).name == target


def test_arm_alone_may_mean_32_bits_and_is_refused():
    with pytest.raises(UsageError, match="unknown target 'arm'; known: native, x86-64, arm64"):
        targets.find("arm")
