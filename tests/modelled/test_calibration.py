from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from edgeq.errors import UsageError
from edgeq.modelled import device_file
from edgeq.modelled.architecture import ARM64
from edgeq.modelled.calibration import Item, Prediction, calibrate, fit, summary
from edgeq.modelled.device_file import model_section
from edgeq.modelled.estimate import Load, Machine, seconds
from edgeq.modelled.profile import Settings

DEVICE = Machine(clock_hz=2.2e9, bandwidth=9e9)


def item(artifact: str, entry: str, name: str, cycles: float, moved: float, noise: float = 1.0) -> Item:
    """As a device of 2.2 Gcycles/s by the model of `right`, 9 GB/s, would be measured; `wrong` explains nothing."""
    measured = seconds(Load(cycles, moved), DEVICE).total * noise
    other = cycles * (3.0 if "gemv" in name else 1.0)
    return Item(artifact, entry, name, measured, {"right": cycles, "wrong": other}, moved)


def items(noise: float = 0.0) -> list[Item]:
    rng = random.Random(0)
    return [
        item(artifact, entry, name, cycles * size, moved * size, 1 + rng.uniform(-noise, noise))
        for artifact, size in (("small", 1.0), ("large", 7.0), ("larger", 12.0))
        for entry, name, cycles, moved in (
            ("decode", "gemv mlp", 1e6, 9e7),
            ("decode", "gemv head", 1.2e6, 8e7),
            ("decode", "attention", 3e6, 1e5),
            ("prefill", "gemm mlp", 8e7, 9e6),
            ("prefill", "gemm head", 3e7, 9e6),
            ("prefill", "norm", 2e6, 0),
        )
    ]


def test_a_device_s_rates_are_found() -> None:
    found = calibrate(items(), bandwidth=12e9)
    assert found.cpu == "right"
    assert found.machine.clock_hz == pytest.approx(DEVICE.clock_hz)
    assert found.machine.bandwidth == pytest.approx(DEVICE.bandwidth)
    assert found.left_out == "artifact"
    assert max(p.error for p in (*found.kernels, *found.entries)) < 1e-9


def test_the_error_is_of_what_the_fit_had_not_seen() -> None:
    slow = [
        i if i.artifact != "small" else Item(i.artifact, i.entry, i.name, 2 * i.seconds, i.cycles, i.bytes)
        for i in items()
    ]
    found = calibrate(slow, bandwidth=12e9)
    by_name = {p.name: p for p in found.entries}
    assert by_name["small decode"].ratio == pytest.approx(2)
    assert by_name["small decode"].error == pytest.approx(0.5)
    assert by_name["large prefill"].error < 0.01


def test_with_one_artifact_kernels_are_left_out_one_at_a_time() -> None:
    alone = [i for i in items(noise=0.1) if i.artifact == "large"]
    found = calibrate(alone, bandwidth=12e9)
    assert found.left_out == "kernel"
    assert 0 < summary(found.kernels)["median"] < 0.25
    assert {p.name for p in found.entries} == {"large decode", "large prefill"}


def test_bandwidth_is_the_measured_one_where_nothing_is_bound_by_memory() -> None:
    computing = [i for i in items() if i.entry == "prefill"]
    assert fit(computing, "right", bandwidth=12e9).bandwidth == 12e9


def test_a_small_op_decides_no_rate() -> None:
    tiny = item("large", "prefill", "embed", 0, 1e4, noise=30.0)
    assert fit([*(i for i in items() if i.entry == "prefill"), tiny], "right", bandwidth=12e9).bandwidth == 12e9


def test_summary_gives_the_range_of_measured_over_predicted() -> None:
    found = summary([Prediction("a", 1.0, 2.0), Prediction("b", 1.0, 0.8)])
    assert found["median"] == pytest.approx((0.5 + 0.25) / 2)
    assert (found["worst"], found["predictions"]) == (0.5, 2)
    assert (found["measured_over_predicted_least"], found["measured_over_predicted_most"]) == (0.8, 2.0)


def test_too_little_to_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing to calibrate with"):
        calibrate(items()[:2], 1e9)


def test_a_device_file_gives_back_its_model(tmp_path: Path) -> None:
    section = model_section(items(), calibrate(items(), 12e9))
    body = {"device": {"name": "adb:pixel"}, **section}
    (tmp_path / "d.json").write_text(json.dumps(body))
    found = device_file.read(tmp_path / "d.json")
    assert (found.name, found.cpu) == ("adb:pixel", "right")
    assert Settings(device=found).machines(ARM64) == {"right": found.machine}
    assert found.error["predictions"] == 6


@pytest.mark.parametrize("text", ["{", "{}", '{"not_fitted": "no emulator"}'])
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(UsageError, match=r"is no device file|no emulator"):
        device_file.read(tmp_path / "d.json")
    with pytest.raises(UsageError, match="No such file"):
        device_file.read(tmp_path / "missing.json")
