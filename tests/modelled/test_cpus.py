"""Which CPU is emulated for an artifact, and what is refused before anything is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeq.errors import TargetError, UsageError
from edgeq.modelled import profile as modelled
from edgeq.modelled.architecture import ARM64, X86_64
from edgeq.modelled.cpus import choose_cpu, parse
from edgeq.modelled.device_file import read

ARTIFACT = Path("artifact")


def test_names_are_read_from_both_kinds_of_listings() -> None:
    assert parse("Available CPUs:\n  a64fx\n  max\n") == ["a64fx", "max"]
    older = "Available CPUs:\nx86 486  (alias)\nx86 Haswell-v1   Intel\n\nRecognized CPUID flags:\n  aes\n"
    assert parse(older) == ["486", "Haswell-v1"]


@pytest.mark.usefixtures("emulator")
def test_the_cpu_asked_for_is_the_one_emulated() -> None:
    assert choose_cpu("", ARM64, ARTIFACT) == "cortex-a76"
    assert choose_cpu("", X86_64, ARTIFACT) == "max"
    assert choose_cpu("Cortex-A72", ARM64, ARTIFACT) == "cortex-a72"
    assert choose_cpu("haswell", X86_64, ARTIFACT) == "Haswell"
    assert choose_cpu("max,sve=off", ARM64, ARTIFACT) == "max,sve=off"


@pytest.mark.usefixtures("emulator")
def test_a_cpu_of_another_architecture_is_refused() -> None:
    with pytest.raises(TargetError, match="artifact was compiled for x86-64, cortex-a76 is arm64"):
        choose_cpu("cortex-a76", X86_64, ARTIFACT)
    with pytest.raises(TargetError, match="artifact was compiled for arm64, haswell is x86-64"):
        choose_cpu("haswell", ARM64, ARTIFACT)
    with pytest.raises(UsageError, match="knows no CPU 'cortex-a99': try cortex-a76"):
        choose_cpu("cortex-a99", ARM64, ARTIFACT)


def test_a_device_measured_on_another_architecture_predicts_nothing(tmp_path: Path) -> None:
    error: dict[str, Any] = {"entries": {}, "left_out": "one kernel"}
    model = {"core": "znver4", "cycles_per_s": 3e9, "bytes_per_s": 2e10}
    (tmp_path / "here.json").write_text(json.dumps({"device": {"name": "local"}, "model": model, "error": error}))
    device = read(tmp_path / "here.json")
    modelled.check_device(device, X86_64)
    with pytest.raises(UsageError, match=r"^here\.json was measured on x86-64, the artifact is for arm64"):
        modelled.check_device(device, ARM64)
