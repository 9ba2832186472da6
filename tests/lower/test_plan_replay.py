"""Every region of prefill chunks and decode steps, on the memory it saw, against the kernels' numpy references."""

from __future__ import annotations

import shutil
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from replay_models import CASES, compile_case, rebuild, runnable, start, walk

from edgeq.errors import ArtifactError
from edgeq.runtime.loader import Session


def check(folder: Path, model: str | None = None, variant: str | None = None) -> set[str]:
    """Replay an artifact; returns the kernel families that were checked."""
    with Session(folder, threads=1, variant=variant) as session:
        findings = walk(start(session, rebuild(folder, model)))
    assert [f for f in findings if not f.ok] == []
    ties = sum(f.ties for f in findings)
    assert ties <= 1e-3 * sum(f.count for f in findings if f.rule == "codes")
    return {f.family for f in findings}


@pytest.mark.parametrize("isa", runnable(), ids=lambda isa: isa.name)
def test_every_region_of_every_variant(tiny_artifact: Path, isa):
    families = check(tiny_artifact, variant=isa.name)
    assert {"linear_int.gemv", "linear_int.gemm", "quantize.quantize", "quantize.quantize_rows"} <= families
    assert {"heads.heads", "attention.decode", "attention.chunk", "embed.embed", "argmax.argmax"} <= families


@pytest.mark.parametrize("case", CASES)
def test_every_region_of_other_models_and_bits(case: str, tmp_path: Path):
    families = check(compile_case(case, tmp_path))
    assert ("linear_float.gemm" in families) == case.endswith(("w4a16", "fp32"))
    assert ("embed.positions" in families) == case.startswith(("gpt2", "opt"))
    assert ("elementwise.unary" in families) == case.startswith("gemma2")


def test_a_wrong_result_is_found(tiny_artifact: Path):
    """The replay is no rubber stamp: one changed bit of one weight shows in the linear that reads it."""
    plan = rebuild(tiny_artifact)
    with Session(tiny_artifact, threads=1) as session:
        replay = start(session, plan)
        weights = session.weights().copy()
        name = next(n for n in plan.offsets if "down_proj" in n)
        weights[plan.offsets[name]] ^= 0x08
        replay._weights = weights
        wrong = {f.family for f in replay.check("decode", [5]) if not f.ok}
    assert wrong == {"linear_int.gemv"}


def test_results_that_are_not_written_are_found(tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch):
    """Old results in memory do not count: with regions that do nothing, everything that they write is missed."""
    plan = rebuild(tiny_artifact)
    with Session(tiny_artifact, threads=1) as session:
        replay = start(session, plan)
        monkeypatch.setattr(replay, "_run", lambda *arguments: None)
        first_layer = takewhile(lambda f: not f.where.startswith("decode 3"), replay.check("decode", [5]))
        wrong = {(f.family, f.param) for f in first_layer if not f.ok}
    assert {("linear_int.gemv", "o"), ("quantize.quantize", "q"), ("attention.decode", "o")} <= wrong


def test_an_artifact_of_another_compiler_is_refused(tiny_artifact: Path, tmp_path: Path):
    copy = Path(shutil.copytree(tiny_artifact, tmp_path / "copy"))
    weights = bytearray((copy / "weights.safetensors").read_bytes())
    weights[-1000] ^= 1
    (copy / "weights.safetensors").write_bytes(weights)
    with pytest.raises(ArtifactError, match="weights are not what"):
        rebuild(copy)
    (copy / "model.c").write_text((copy / "model.c").read_text().replace("case 3:", "case 4:"))
    with pytest.raises(ArtifactError, match=r"model\.c is not what"):
        rebuild(copy)


def test_codes_are_whole_numbers_near_a_tie_only():
    from replay.expected import Expected, compare

    want = Expected("q", np.arange(3), np.array([0.50001, 1.4, -2.49995]), np.int8, "codes")
    assert compare(np.array([0, 1, -3], np.int8), want) == {"wrong": 0, "ties": 2}
    assert compare(np.array([1, 2, -2], np.int8), want) == {"wrong": 1, "ties": 0}
