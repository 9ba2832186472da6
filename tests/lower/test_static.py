"""Static graphs as text -> plans: what is fused, which memory is shared, how many calls."""

from __future__ import annotations

import torch

from edgeq.frontend.entries import EntryGraph, Port
from edgeq.ir.graph import inputs, output
from edgeq.ir.text import parse
from edgeq.lower.emit import WeightsInfo, emit
from edgeq.lower.lowering import lower_entries
from edgeq.passes.pipeline import parse_pipeline
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize
from edgeq.targets import find

BLOCK = """
%x = input : f32[{b}, {s}, 64]
%w1 = weight fc1.weight : f32[128, 64]
%b1 = weight fc1.bias : f32[128]
%y1 = aten.linear(%x, %w1, %b1) : f32[{b}, {s}, 128] @ fc1
%a = aten.gelu(%y1) : f32[{b}, {s}, 128] @ act
%w2 = weight fc2.weight : f32[64, 128]
%y2 = aten.linear(%a, %w2) : f32[{b}, {s}, 64] @ fc2
%r = aten.add.Tensor(%y2, %x) : f32[{b}, {s}, 64] @ block
%g = weight norm.weight : f32[64]
%c = weight norm.bias : f32[64]
%n = aten.layer_norm(%r, [64], %g, %c, 1e-05) : f32[{b}, {s}, 64] @ norm
return (%n,)
"""


class Names:
    """Stands for a checkpoint: lowering reads no values."""

    def names(self):
        return []


def entry(text, name="image", bits="w8a8"):
    gm = parse(text.strip())
    for step in parse_pipeline(f"merge-linears,quantize{{bits={bits}}}"):
        step(gm)
    ports = tuple(Port(str(n), "f32", tuple(p.meta["val"].shape)) for n, p in inputs(gm).items())
    out = tuple(Port(f"y{i}", "f32", tuple(n.meta["val"].shape)) for i, n in enumerate(output(gm).args[0]))
    return EntryGraph(name, name, "static", 1, 0, gm, ports, out)


def plan_of(*entries):
    return lower_entries(list(entries), Names(), 0, 1)[0]


def test_ranges_of_4_bits_are_searched_in_encoders():
    _, table = lower_entries([entry(BLOCK.format(b=1, s=24), bits="w4a8")], Names(), 0, 1)
    w = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).numpy()
    fmt = WeightFormat.parse("w4g32")
    assert table.ranges == "mse"
    read = [dequantize(*quantize(w, fmt, method), fmt) for method in ("minmax", table.ranges)]
    plain, searched = (((x - w) ** 2).sum() for x in read)
    assert searched < plain


def families(plan):
    return [[c.kernel.family for c in r.calls] for r in plan.entries[0].regions]


def test_activation_and_residual_are_fused_and_rows_keep_their_threads():
    plan = plan_of(entry(BLOCK.format(b=1, s=24)))
    gemm, rows = "linear_int.gemm", "quantize.quantize_rows"
    assert families(plan) == [[rows], [gemm], [rows], [gemm], ["norm.norm"]]
    calls = [c for r in plan.entries[0].regions for c in r.calls if c.kernel.family == gemm]
    assert [c.kernel.options["epilogue"] for c in calls] == ["act:gelu", "add"]


def test_inputs_and_outputs_have_memory_of_their_own():
    static = plan_of(entry(BLOCK.format(b=1, s=24))).entries[0]
    x, y = static.inputs[0], static.outputs[0]
    assert (x.name, x.shape, y.name, y.shape) == ("x", (1, 24, 64), "y0", (1, 24, 64))
    lasting = [(t.view.buffer.offset, t.view.buffer.bytes) for t in (x, y)]
    others = [(b.offset, b.bytes) for b in static.buffers if not b.pinned and not b.private]
    for at, size in lasting:
        assert all(at + size <= o or o + n <= at for o, n in others)


def test_float_linears_read_activations_as_they_are():
    families_ = families(plan_of(entry(BLOCK.format(b=2, s=5), bits="fp32")))
    assert families_ == [["linear_float.gemm"], ["linear_float.gemm"], ["norm.norm"]]


def test_many_rows_are_taken_in_passes():
    plan = plan_of(entry(BLOCK.format(b=1, s=40000), bits="w8a8"))
    gemms = [c for r in plan.entries[0].regions for c in r.calls if c.kernel.family == "linear_int.gemm"]
    assert len(gemms) > 4
    assert sum(int(c.args[0].text) for c in gemms) == 2 * 40000


def test_a_tensor_that_another_entry_reads_is_one_tensor():
    first = entry(BLOCK.format(b=1, s=24), "image")
    second = entry(BLOCK.format(b=1, s=24).replace("%x", "%y0"), "mask")
    plan = plan_of(first, second)
    assert plan.entries[0].outputs[0].view is plan.entries[1].inputs[0].view


def test_the_plan_prints_ports_and_literal_row_counts():
    plan = plan_of(entry(BLOCK.format(b=1, s=24)))
    calls = (c for e in plan.entries for r in e.regions for c in r.calls)
    names = {a.name for c in calls for a in c.args if hasattr(a, "name") and not hasattr(a, "row_bytes")}
    text = emit(plan, find("x86-64").isas, WeightsInfo(dict.fromkeys(names, 64), 0, 0, 0), "model")
    assert '{"x", EDGEQ_F32, 3, {1, 24, 64}, 64, 0, ' in text
    assert '{"image", EDGEQ_STATIC, 1, 5, image, 0, 1, 1, image_inputs, image_outputs}' in text
    assert "LO(2) * 16, MIN(HI(2) * 16, 24), 24," in text


RESIDUAL_RELU = """
%x = input : f32[1, 24, 64]
%w = weight conv.weight : f32[64, 64]
%y = aten.linear(%x, %w) : f32[1, 24, 64] @ conv
%r = aten.add.Tensor(%y, %x) : f32[1, 24, 64] @ block
%z = aten.relu(%r) : f32[1, 24, 64] @ act
return (%z,)
"""


def test_addition_and_activation_are_one_epilogue():
    plan = plan_of(entry(RESIDUAL_RELU))
    assert families(plan) == [["quantize.quantize_rows"], ["linear_int.gemm"]]
    assert plan.entries[0].regions[1].calls[0].kernel.options["epilogue"] == "add:relu"
