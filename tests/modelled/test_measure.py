"""From a real measurement of a tiny artifact on this machine to a device file with a model in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeq.artifact.manifest import read
from edgeq.cli.modelled_text import fit_lines
from edgeq.devices import measurement
from edgeq.measure.profile import Settings
from edgeq.modelled import device_file
from edgeq.modelled.measure import fitted, fitting_settings
from edgeq.modelled.profile import Settings as Modelled
from edgeq.modelled.profile import profile_modelled
from edgeq.modelled.tools import find_emulator
from edgeq.targets import native_name

pytestmark = pytest.mark.skipif(native_name() != "x86-64", reason="measures x86-64 code, which this machine cannot run")


def test_settings_are_those_that_can_be_counted(tiny_artifact: Path) -> None:
    found = fitting_settings(None)(tiny_artifact, Settings(budget_s=3.0))
    assert (found.threads, found.variant, found.prefill, found.decode) == (1, "avx2", (16,), 64)
    assert found.budget_s == 3.0
    assert fitting_settings("portable")(tiny_artifact, Settings()).variant == "portable"


def test_a_measurement_that_cannot_be_fitted_keeps_its_profiles_and_says_why() -> None:
    facts = {"name": "adb", "bandwidth": [{"threads": 1, "bytes_per_s": 1e9}]}
    found = fitted({"device": facts, "profiles": []})
    assert found["profiles"] == []
    assert "nothing to calibrate with" in found["not_fitted"]
    assert "nothing to calibrate with" in fit_lines(found)[0]
    assert "bandwidth" in fitted({"device": {"bandwidth": []}, "profiles": []})["not_fitted"]


@pytest.fixture(scope="module")
def measured(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = str(tmp_path_factory.mktemp("device"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "BRIEF_S", 0.05)
        return measurement.measure_device("local", [tiny_artifact], True, folder, None, fitting_settings(None))


@pytest.mark.usefixtures("emulator", "llvm")
def test_a_real_device_is_fitted_and_predicts(measured: dict[str, Any], tiny_artifact: Path, tmp_path: Path) -> None:
    find_emulator("qemu-x86_64")  # comes with qemu-aarch64
    found = fitted(measured)
    assert "not_fitted" not in found
    ops = {(item["entry"], item["name"]): item for item in found["modelled_ops"]}
    (profile,) = measured["profiles"]
    for entry in ("prefill", "decode"):
        for op in profile["entries"][entry]:
            item = ops[entry, op["name"]]
            assert item["seconds"] == pytest.approx(op["us"] / 1e6)
            assert item["bytes"] >= op["weight_bytes"] and all(cycles > 0 for cycles in item["cycles"].values())
    measurement.write(found, tmp_path / "here.json")
    model = device_file.read(tmp_path / "here.json")
    assert model.name == "local" and model.machine.clock_hz > 0
    predicted = profile_modelled(tiny_artifact, "max", Modelled(prompt=16, decode=1, device=model))
    (estimate,) = predicted["entries"]["decode"]["estimate"].values()
    low, high = estimate["seconds_between"]
    assert 0 < low <= high and estimate["error"]["left_out"].startswith("one kernel")
    assert predicted["assumptions"]["given_by"] == "fitted to local"
    assert read(tiny_artifact).target == "x86-64"
