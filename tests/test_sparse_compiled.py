"""A model pruned by `jsq` and compiled to 2:4 weights: what the artifact holds, computes, and refuses."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

import edgeq
from edgeq.artifact.manifest import read
from edgeq.errors import UsageError
from edgeq.lower.build import WEIGHTS
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import unpack
from edgeq.runtime.loader import Session

GIVEN = {"context": 64, "chunk": 16, "calib_samples": 2, "calib_length": 32}
IDS = [256, *range(40, 79)]


def compiled(model, out, bits):
    return edgeq.compile(str(model), bits=bits, output=out, passes=["jsq{compensate=true}"], **GIVEN).path


def logits(path) -> np.ndarray:
    """After a prefill of many rows, and after a step of one."""
    with Session(path, threads=1) as session:
        session.feed(IDS)
        before = session.last_logits()
        session.feed([7])
        return np.stack([before, session.last_logits()])


def test_an_artifact_holds_half_of_the_weights_and_computes_the_same(tiny_model, tmp_path):
    path = compiled(tiny_model, tmp_path / "sparse", "s4a8g64")
    tensors, fmt = load_file(path / WEIGHTS), WeightFormat.parse("s4g64")
    stored = [t for t in read(path).tensors if "proj" in t.name]
    for tensor in stored:
        assert tensor.format == str(fmt)
        codes = unpack(tensors[tensor.name], *tensor.shape, fmt)[0].reshape(-1, 4)
        assert (codes != fmt.zero_point).sum(1).max() == 2
    assert len(stored) >= 6
    other = compiled(tiny_model, tmp_path / "dense", "w4a8g64")
    assert np.array_equal(logits(path), logits(other))


def test_nothing_is_pruned_in_silence(tiny_model, tmp_path):
    with pytest.raises(UsageError, match=r"proj.*: s8 keeps two of four consecutive weights.*--pass jsq"):
        edgeq.compile(str(tiny_model), bits="s8a8", output=tmp_path / "out", calib="none")
    assert not (tmp_path / "out").exists()
