"""Graphs as text -> plans: how many regions, what is fused, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgeq.errors import UnsupportedError
from edgeq.ir.text import parse
from edgeq.lower.emit import WeightsInfo, emit
from edgeq.lower.lowering import lower
from edgeq.passes.pipeline import parse_pipeline
from edgeq.targets import find

GRAPHS = Path(__file__).parent.parent / "passes" / "graphs"
PIPELINE = "add-cache{kv=f16,context=64},last-row,merge-linears,quantize{bits=%s}"


class Names:
    """Stands for a checkpoint: lowering reads nothing but rotary frequencies."""

    def names(self):
        return []

    def read(self, name, rows=None):
        assert name.endswith("inv_freq")
        return torch.ones(8)


def plan_of(name="llama", bits="w4a8", chunk=32):
    gm = parse((GRAPHS / f"{name}.eqir").read_text())
    for step in parse_pipeline(PIPELINE % bits):
        step(gm)
    return lower(gm, Names(), 64, chunk)


def families(entry):
    return [[c.kernel.name.split("_")[0] for c in r.calls] for r in entry.regions]


def test_a_decode_layer_is_five_regions():
    plan, _ = plan_of()
    assert families(plan.entries[0]) == [
        ["embed", "quantize", "gemv", "heads"],
        ["attention"],
        ["quantize", "gemv"],
        ["quantize", "gemv"],
        ["quantize", "gemv"],
        ["quantize", "gemv", "argmax"],
    ]


def test_prefill_quantizes_rows_between_products_and_ends_with_one_row():
    plan, _ = plan_of()
    assert families(plan.entries[1]) == [
        ["embed", "quantize"],
        ["gemm", "heads"],
        ["attention"],
        ["quantize"],
        ["gemm"],
        ["quantize"],
        ["gemm"],
        ["quantize"],
        ["gemm"],
        ["quantize", "gemv", "argmax"],
    ]


def test_a_tied_head_and_embedding_are_stored_once():
    _, table = plan_of()
    stored = [t for t in table.tensors.values() if "model.embed_tokens.weight" in t.sources]
    assert [(t.format, t.logical) for t in stored] == [("w8g32", (128, 64))]


def test_residuals_are_added_in_place_once_they_are_shared():
    plan, _ = plan_of()
    decode = [c for r in plan.entries[0].regions for c in r.calls if "_add" in c.kernel.name]
    first, second = ([a.buffer for a in c.args[-2:]] for c in decode)
    assert first[0].private and first[0] is not first[1]
    assert second[0] is second[1]


@pytest.mark.parametrize("bits", ["w4a8", "w8a8", "fp32", "w4a16", "w4a8kv8"])
def test_buffers_that_live_together_never_overlap(bits):
    plan, _ = plan_of(bits=bits)
    for entry in plan.entries:
        for i, a in enumerate(entry.buffers):
            assert a.offset >= 0
            for b in entry.buffers[:i]:
                together = a.private == b.private and a.first <= b.last and b.first <= a.last
                assert not together or a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset


def test_the_plan_prints_one_line_a_call():
    plan, table = plan_of()
    info = WeightsInfo({name: 64 * i for i, name in enumerate(table.tensors)}, 1, 2, 3)
    text = emit(plan, find("x86-64").isas, info, "a/model")
    calls = sum(len(r.calls) for e in plan.entries for r in e.regions)
    assert sum(line.startswith("    k->") for line in text.splitlines()) == calls
    assert "model.layers.0.self_attn.{q_proj,k_proj,v_proj}" in text and "(size_t)(m - 1)" in text


def test_everything_without_a_kernel_is_listed_at_once():
    text = (GRAPHS / "llama.eqir").read_text().replace("act='silu'", "act='relu'")
    gm = parse(text)
    for step in parse_pipeline(PIPELINE % "w4a8"):
        step(gm)
    for node in list(gm.graph.nodes):
        if "gated" in node.name or "rms_norm" in node.name:
            node.target = torch.ops.aten.tanh.default if "gated" in node.name else torch.ops.aten.sigmoid.default
            node.args, node.kwargs = node.args[:1], {}
    with pytest.raises(UnsupportedError) as caught:
        lower(gm, Names(), 64, 32)
    assert "model.norm: aten.sigmoid" in str(caught.value)
    assert "model.layers.0.input_layernorm: aten.sigmoid" in str(caught.value)
