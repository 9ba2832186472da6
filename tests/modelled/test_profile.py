"""A tiny artifact for arm64: its counts, and what is modelled from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import edgeq
from edgeq.artifact.manifest import read
from edgeq.cli.app import app
from edgeq.cli.modelled_text import text
from edgeq.errors import TargetError, UsageError
from edgeq.modelled import counter
from edgeq.modelled.counts import by_function, calls
from edgeq.modelled.profile import Settings, profile_modelled
from edgeq.modelled.run import Counts, count_artifact
from edgeq.modelled.workload import workload

CPUS = ("cortex-a55", "neoverse-n1", "neoverse-v1")


@pytest.fixture(scope="module")
def artifact(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("artifact") / "tiny-arm64"
    return edgeq.compile(str(tiny_model), target="arm64", bits="w4a8", output=output, context=64, chunk=16).path


def counted(artifact: Path, cpu: str, prompt: int = 16, decode: int = 2, variant: str | None = None) -> Counts:
    return count_artifact(artifact, read(artifact), cpu, prompt, decode, variant)


@pytest.mark.usefixtures("emulator")
def test_each_kernel_runs_as_often_as_the_plan_says_and_counts_repeat_themselves(artifact: Path) -> None:
    found = counted(artifact, "cortex-a76")
    assert found.variant == "dotprod"
    assert [(run.entry, run.rows, run.position) for run in found.runs] == [
        ("prefill", 16, 0), ("decode", 1, 16), ("decode", 1, 17)
    ]  # fmt: skip
    for run in found.runs:
        times = calls(run.counts, found.program)
        for kernel, work in workload(read(artifact).to_json(), run.entry).items():
            assert times[f"{kernel}_dotprod"] == work.calls, kernel
    again = counted(artifact, "cortex-a76")
    assert [run.counts for run in again.runs] == [run.counts for run in found.runs]


@pytest.mark.usefixtures("emulator")
def test_blocks_count_the_same_as_single_steps(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = counted(artifact, "cortex-a76")
    command = counter.emulate("cortex-a76")
    monkeypatch.setattr(counter, "emulate", lambda *_: [*command, "-singlestep"])  # one instruction a block
    steps = counted(artifact, "cortex-a76")
    assert [run.counts for run in steps.runs] == [run.counts for run in blocks.runs]


@pytest.mark.usefixtures("emulator")
def test_instruction_sets_with_better_products_execute_less(artifact: Path) -> None:
    totals: dict[str, int] = {}
    for cpu in ("cortex-a72", "cortex-a76", "max"):
        found = counted(artifact, cpu, decode=1)
        totals[found.variant] = sum(
            n for f, n in by_function(found.runs[0].counts, found.program).items() if "gemm" in f
        )
    assert totals["i8mm"] < totals["dotprod"] < totals["neon"]


@pytest.mark.usefixtures("emulator")
def test_what_cannot_be_counted_is_refused(artifact: Path) -> None:
    with pytest.raises(TargetError, match=r"on emulated cortex-a72: .*i8mm"):
        counted(artifact, "cortex-a72", variant="i8mm")
    with pytest.raises(UsageError, match="avx2"):
        counted(artifact, "cortex-a72", variant="avx2")
    with pytest.raises(UsageError, match="do not fit the artifact's context"):
        profile_modelled(artifact, "max", Settings(prompt=64, decode=1))


def run(arguments: Sequence[str]) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout))


@pytest.mark.usefixtures("emulator", "llvm")
def test_the_profile_is_labelled_and_adds_up(artifact: Path) -> None:
    options = ["--device", "qemu:cortex-a76", "--prefill", "16", "--decode", "2", "--bandwidth", "5e9"]
    found = run(["profile", str(artifact), *options])
    assert found["modelled"] is True
    assert "tokens_per_second" not in found
    assumed = found["assumptions"]
    assert {cpu: p["bandwidth_bytes_per_s"] for cpu, p in assumed["processors"].items()} == dict.fromkeys(CPUS, 5e9)
    assert assumed["threads"] == 1
    assert any("caches" in what for what in assumed["not_modelled"])
    shown = text(found)
    assert "prefill of 16 tokens: kernel" in shown and "decode: kernel" in shown
    assert "neoverse-n1 = Cortex-A76 class" in shown and "(dotprod on qemu:cortex-a76, 1 thread)" in shown
    for entry in found["entries"].values():
        assert sum(k["instructions"] for k in entry["kernels"]) == pytest.approx(entry["instructions"])
        for cpu in CPUS:
            parts = [max(k["cycles"][cpu] / assumed["processors"][cpu]["clock_hz"],
                         (k["weight_bytes"] + k["kv_bytes"]) / 5e9) for k in entry["kernels"]]  # fmt: skip
            assert entry["estimate"][cpu]["seconds"] == pytest.approx(sum(parts))
    assert found["entries"]["decode"]["positions"] == [16, 17]


@pytest.mark.usefixtures("emulator", "llvm")
def test_processors_without_the_instructions_have_no_figures(artifact: Path) -> None:
    found = profile_modelled(artifact, "max", Settings(prompt=16, decode=1))
    assert found["variant"] == "i8mm"
    assert {cpu: bool(e) for cpu, e in found["entries"]["prefill"]["estimate"].items()} == {
        "cortex-a55": False, "neoverse-n1": False, "neoverse-v1": True
    }  # fmt: skip
    assert "i8mm" in found["assumptions"]["processors"]["neoverse-n1"]["no_figures_because"]


@pytest.mark.usefixtures("emulator")
def test_an_artifact_is_not_counted_on_a_cpu_of_another_target(artifact: Path) -> None:
    done = CliRunner().invoke(app, ["profile", str(artifact), "--device", "qemu:haswell"])
    assert done.exit_code == TargetError.exit_code
    assert "was compiled for arm64, haswell is x86-64" in done.stderr and "count" not in done.stderr
