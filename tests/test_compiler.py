"""Which passes a compile runs on which entry."""

from __future__ import annotations

import pytest
import torch

from edgeq.calibrate.samples import encoder_samples
from edgeq.compiling.calibrated import run_entry
from edgeq.compiling.recipes import resolve
from edgeq.frontend.entries import EntryGraph
from edgeq.ir.graph import value
from edgeq.ir.text import parse
from edgeq.passes.pass_ import Context
from edgeq.quant.bits import Bits

ENCODER = """
%input_ids = input : i64[1, 8]
%e = weight words.weight : f32[50, 32]
%x = aten.embedding(%e, %input_ids) : f32[1, 8, 32] @ words
%g = weight norm.weight : f32[32]
%c = weight norm.bias : f32[32]
%n = aten.layer_norm(%x, [32], %g, %c, 1e-05) : f32[1, 8, 32] @ norm
%w = weight fc.weight : f32[32, 32]
%y = aten.linear(%n, %w) : f32[1, 8, 32] @ fc
return (%y,)
"""


class Ones:
    """Weights of ones."""

    def __init__(self, gm):
        self.shapes = {str(n.target): tuple(value(n).shape) for n in gm.graph.nodes if n.op == "get_attr"}

    def read(self, name, rows=None):
        return torch.ones(self.shapes[name])[rows or slice(None)]


@pytest.mark.parametrize(
    ("bits", "texts", "smoothed"), [("w8a8", [[1, 2, 3]], True), ("w8a16", [[1, 2, 3]], False), ("w8a8", [], False)]
)
def test_encoders_are_smoothed_where_activations_are_int8_and_text_is_there(bits, texts, smoothed):
    gm = parse(ENCODER.strip())
    entry = EntryGraph("text_8", "text", "static", 1, 8, gm)
    context = Context(Ones(gm), samples=lambda graph: encoder_samples(graph, texts))
    reports = run_entry(entry, Bits.parse(bits), 0, context, resolve("fast", "encoder", Bits.parse(bits)))
    assert any(report.name.startswith("smooth") and report.changed for report in reports) is smoothed
    assert [report.name.split("{")[0] for report in reports[-2:]] == ["quantize", "merge-linears"]
    if not texts:
        assert "no calibration sample fits" in reports[0].declined[0].what
