"""Every weight format, a few in one model: what the artifact computes is what the reference executor says."""

from __future__ import annotations

import numpy as np
import pytest

import edgeq
from edgeq.artifact.manifest import read
from edgeq.evaluate.graph import graph_logits
from edgeq.evaluate.perplexity import second_half
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.source import open_model
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.bits import Bits

TOKENS = np.random.default_rng(0).integers(0, 250, 48).tolist()
MIXED = {
    "a8": {
        "*.q_proj": "w3g64a", "*.k_proj": "t1.6g64", "*.v_proj": "nf4g64", "*.0.self_attn.o_proj": "mxfp4",
        "*.1.self_attn.o_proj": "c4g128", "*.0.mlp.gate_proj": "w2g32m", "*.0.mlp.up_proj": "p2g64",
        "*.1.mlp.gate_proj": "t2g128", "*.1.mlp.up_proj": "w1g64", "*.0.mlp.down_proj": "fp8",
        "*.1.mlp.down_proj": "w2g64",
    },
    "a16": {
        "*.q_proj": "w3g64a", "*.k_proj": "t1.6g64", "*.v_proj": "nf4g64", "*.0.self_attn.o_proj": "mxfp4",
        "*.1.self_attn.o_proj": "fp8e5", "*.gate_proj": "w4g32m", "*.up_proj": "w1g64", "*.down_proj": "log4t2",
    },
}  # fmt: skip


def reference(model, bits: str, formats: dict[str, str]) -> np.ndarray:
    """Logits of the scored half by the reference executor."""
    source = open_model(str(model))
    gm = load_entries(source, Shapes())[0].gm
    context = Context(source.weights, bits=Bits.parse(bits), formats=formats)
    run_pipeline(gm, parse_pipeline(f"quantize{{bits={bits}}}"), context)
    return graph_logits(gm, source.weights)(TOKENS)


@pytest.mark.parametrize("act", sorted(MIXED))
def test_a_model_of_many_formats_computes_what_the_reference_says(tiny_model, tmp_path, act):
    bits, formats = f"w8{act}kv32", MIXED[act]
    made = edgeq.compile(
        str(tiny_model), bits=bits, output=tmp_path / "out", formats=formats, context=64, chunk=16, calib="none"
    )
    stored = {tensor.format for tensor in read(made.path).tensors}
    assert set(formats.values()) <= stored
    found, expected = second_half(edgeq.load(made.path).session)(TOKENS), reference(tiny_model, bits, formats)
    assert np.abs(found - expected).max() <= 0.02 * np.abs(expected).max()
    assert (found.argmax(-1) == expected.argmax(-1)).mean() >= 0.9
