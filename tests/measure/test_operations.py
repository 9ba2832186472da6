"""Regions merged into operations: names without layer numbers, times a walk, rates."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq.measure.operations import label, operations
from edgeq.runtime.loader import Profile


def region(kind, modules, weight_bytes=0, ops=0):
    return {"kind": kind, "modules": modules, "kernels": [kind], "weight_bytes": weight_bytes, "ops": ops}


REGIONS = [
    region("embed", ["model.embed_tokens"]),
    region("gemv", ["model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj"], 1000, 2000),
    region("gemv", ["model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj"], 1000, 2000),
]


def test_label_forgets_the_layer_and_counts_modules():
    assert label(REGIONS[2]) == "gemv model.layers.*.mlp.gate_proj (+1)"
    assert label(region("norm", [])) == "norm"
    assert label(region("norm", ["h.11.ln_1"])) == "norm h.*.ln_1"


def test_layers_merge_and_times_are_of_one_walk():
    profile = Profile(walks=4, rows=8, inside_ns=np.array([400, 3000, 5000]), total_ns=np.array([400, 4000, 6000]))
    embed, gemv = operations(REGIONS, profile)
    assert (embed.name, embed.regions, embed.us) == ("embed model.embed_tokens", 1, pytest.approx(0.1))
    assert (gemv.regions, gemv.weight_bytes) == (2, 2000)
    assert gemv.us == pytest.approx(2.5)
    assert gemv.wait_us == pytest.approx(0.5)
    assert gemv.ops == 2 * 4000  # two rows a walk
    assert gemv.bytes_per_s == pytest.approx(2000 / 2.5e-6)
    assert embed.bytes_per_s == 0


def test_an_entry_that_was_not_walked_has_none():
    zeros = np.zeros(3, np.uint64)
    assert operations(REGIONS, Profile(0, 0, zeros, zeros)) == []
