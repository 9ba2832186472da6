"""A model compiled behind `gptq` or `cbq`: the artifact's weights file holds the very numbers that the pass chose."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

import edgeq
from edgeq.artifact.manifest import read
from edgeq.calibrate.journal import Decisions
from edgeq.lower.build import WEIGHTS
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import unpack

LENGTH = 48


@pytest.fixture
def decided(monkeypatch):
    """Key -> tensors of everything decided while the test runs."""
    kept = {}
    put = Decisions.put

    def keep(self, step, key, tensors):
        kept[key] = tensors
        put(self, step, key, tensors)

    monkeypatch.setattr(Decisions, "put", keep)
    return kept


def rows_of(*tables):
    """A set of rows, whatever their order: merged linears take turns."""
    parts = [np.ascontiguousarray(table) for table in tables if table is not None]
    return {b"".join(part[n].tobytes() for part in parts) for n in range(len(parts[0]))}


@pytest.mark.parametrize(
    ("step", "bits"),
    [("gptq", "w4a8g32"), ("gptq", "w4a8g64a"), ("gptq", "w8a8"), ("cbq{epochs=1}", "w4a8g64a")],
)
def test_the_artifact_holds_the_codes(tiny_model, tmp_path, decided, step, bits):
    model = edgeq.compile(
        str(tiny_model), bits=bits, output=tmp_path / "out", context=64, chunk=16, passes=[step], calib_samples=4,
        calib_length=LENGTH,
    )  # fmt: skip
    manifest, tensors = read(model.path), load_file(model.path / WEIGHTS)
    fmt = WeightFormat.parse({"w8a8": "w8"}.get(bits, bits.replace("a8", "")))
    chosen = set()
    for decision in decided.values():
        chosen |= rows_of(*(decision[name].numpy() for name in ("codes", "scale", "zero") if name in decision))
    assert len(decided) == 14 and len(chosen) > 1000
    found = set()
    for tensor in manifest.tensors:
        if "proj" not in tensor.name:
            continue
        assert tensor.format == str(fmt)
        found |= rows_of(*unpack(tensors[tensor.name], *tensor.shape, fmt))
    assert found == chosen
