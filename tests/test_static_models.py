"""Every architecture that is no decoder through the whole road: each output of each entry against eager PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import static_zoo as zoo
from torch import nn
from zoo_compiled import compare, compile_zoo, taken

from edgeq.runtime.loader import Session


def compiled(name: str, bits: str, folder: Path, batches: tuple[int, ...] = ()) -> tuple[nn.Module, Session]:
    eager = zoo.save(name, folder / "model")
    return eager, compile_zoo(name, folder / "model", folder / "artifact", bits, batches)


@pytest.mark.parametrize("name", zoo.ZOO)
def test_fp32_artifact_equals_hugging_face(name: str, tmp_path: Path) -> None:
    """Every output of every entry, in odd sizes and batches; what the padding holds changes nothing."""
    eager, session = compiled(name, "fp32", tmp_path)
    assert set(zoo.ZOO[name].main) <= {tensor.name for entry in session.entries for tensor in entry.outputs}
    for batch in zoo.ZOO[name].batches:
        runs = zoo.runs(name, eager, batch)
        found = compare(session, runs)
        assert found.error <= 1e-4, found.worst()
        for run in runs:
            if "attention_mask" in run.inputs:
                padding_is_hidden(session, run)


def padding_is_hidden(session: Session, run: zoo.Run) -> None:
    """Other tokens where the mask is 0: the same outputs, bit for bit, where it is 1 and where tokens are pooled."""
    real = run.inputs["attention_mask"] > 0
    noise = np.random.default_rng(0).integers(3, 90, real.shape, np.int32)
    inputs = taken(session, run)
    before = session.run(run.entry, **inputs)
    after = session.run(run.entry, **(inputs | {"input_ids": np.where(real, inputs["input_ids"], noise)}))
    for name, value in before.items():
        per_token = value.shape[:2] == real.shape
        assert np.array_equal(value[real], after[name][real]) if per_token else np.array_equal(value, after[name]), name


@pytest.mark.parametrize("name", zoo.ZOO)
def test_w8a8_artifact_stays_close(name: str, tmp_path: Path) -> None:
    eager, session = compiled(name, "w8a8", tmp_path, batches=(1,))
    found = compare(session, zoo.runs(name, eager))
    assert found.cosine >= 0.999, found.worst(least_cosine=True)


@pytest.mark.parametrize("name", ["minilm", "vit_classes", "resnet_basic", "bart"])
def test_fp16_artifact_stays_close(name: str, tmp_path: Path) -> None:
    eager, session = compiled(name, "fp16", tmp_path, batches=(1,))
    found = compare(session, zoo.runs(name, eager))
    assert found.error <= 5e-3, found.worst()


def test_sessions_share_an_artifact(tmp_path: Path) -> None:
    """One thread or two, and a second session in between: the same bits."""
    eager, session = compiled("clip", "w8a8", tmp_path, batches=(1,))
    single = Session(tmp_path / "artifact", threads=1, verify=False)
    for run in zoo.runs("clip", eager):
        first, other = session.run(run.entry, **taken(session, run)), single.run(run.entry, **taken(single, run))
        assert all(np.array_equal(first[name], other[name]) for name in first)
