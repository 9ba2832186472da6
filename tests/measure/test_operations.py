"""Regions merged into operations: names without layer numbers, times a walk, rates."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq.measure.names import label
from edgeq.measure.operations import operations
from edgeq.runtime.loader import Profile


def region(kind, modules, weight_bytes=0, ops=0):
    return {"kind": kind, "modules": modules, "kernels": [kind], "weight_bytes": weight_bytes, "ops": ops}


REGIONS = [
    region("embed", ["model.embed_tokens"]),
    region("gemm", ["model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj"], 1000, 2000),
    region("gemm", ["model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj"], 1000, 2000),
]


def test_label_forgets_the_layer_and_counts_modules():
    assert label(REGIONS[2]) == "gemm model.layers.*.mlp.gate_proj (+1)"
    assert label(region("norm", [])) == "norm"
    assert label(region("norm", ["h.11.ln_1"])) == "norm h.*.ln_1"


def walks(count, rows, inside, total):
    return Profile(count, rows, np.array(inside, np.uint64), np.array(total, np.uint64))


def test_layers_merge_and_times_are_of_one_walk():
    embed, gemm = operations(REGIONS, [walks(4, 8, [400, 3000, 5000], [400, 4000, 6000])])
    assert (embed.name, embed.regions, embed.us) == ("embed model.embed_tokens", 1, pytest.approx(0.1))
    assert (gemm.regions, gemm.weight_bytes) == (2, 2000)
    assert gemm.us == pytest.approx(2.5)
    assert gemm.wait_us == pytest.approx(0.5)
    assert gemm.ops == 2 * 4000  # two rows a walk
    assert gemm.bytes_per_s == pytest.approx(2000 / 2.5e-6)
    assert embed.bytes_per_s == 0


def test_a_disturbed_run_does_not_count():
    quiet = walks(1, 1, [1, 10, 10], [1, 10, 10])
    _, gemm = operations(REGIONS, [quiet, walks(1, 1, [1, 10, 90_000], [1, 10, 90_000]), quiet])
    assert gemm.us == pytest.approx(0.02)


def test_a_gemv_takes_one_row_however_many_are_fed():
    (head,) = operations([region("gemv", ["lm_head"], 100, 50)], [walks(1, 256, [1], [1])])
    assert head.ops == 50


def test_an_entry_that_was_not_walked_has_none():
    assert operations(REGIONS, [walks(0, 0, [0] * 3, [0] * 3)]) == []
