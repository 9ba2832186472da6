"""Linears with formats of their own: who gets which, and which of them are merged."""

from __future__ import annotations

import pytest
import torch

from edgeq.errors import UnsupportedError, UsageError
from edgeq.ir.graph import arguments, calls, hf_name
from edgeq.ir.text import parse, show
from edgeq.ir.verify import verify
from edgeq.passes.clips.spots import spots
from edgeq.passes.folds.calibrated import quant_of
from edgeq.passes.folds.weight_key import key_of
from edgeq.passes.grids import put_on_grid
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.bits import Bits
from edgeq.quant.format import WeightFormat
from edgeq.quant.per_linear import format_of, unused
from edgeq.quant.quantizer import quantize
from edgeq.quant.simulate import QuantSpec

FORMATS = {"*.self_attn.*": "w8", "model.layers.0.self_attn.v_proj": "w4g128a", "*": "w4g64"}


def run(text, pipeline, formats=None):
    gm = parse(text)
    run_pipeline(gm, parse_pipeline(pipeline), Context(formats=formats or {}))
    verify(gm, types=True)
    assert show(parse(show(gm))) == show(gm)
    return gm


def formats_of(gm):
    return {hf_name(n).rsplit(".", 1)[-1]: (n.kwargs["weight"], n.kwargs["act"]) for n in calls(gm, "edgeq.qlinear")}


def test_a_name_wins_over_patterns_and_the_first_pattern_over_the_next():
    assert str(format_of("model.layers.0.self_attn.v_proj", FORMATS)) == "w4g128a"
    assert str(format_of("model.layers.1.self_attn.v_proj", FORMATS)) == "w8"
    assert str(format_of("lm_head", FORMATS)) == "w4g64"
    assert format_of("lm_head", FORMATS, exact=True) is None
    assert unused({"a.*": "w8", "b": "w8"}, ["a.q", "c"]) == ["b"]
    assert str(format_of("m.{q,k}", {"m.q": "w8", "*.k": "w8"})) == "w8"
    with pytest.raises(UsageError, match="run quantize before merge-linears"):
        format_of("m.{q,k}", {"m.q": "w8"})


def test_quantize_gives_each_linear_its_own_and_merging_joins_neighbours_of_one(llama):
    formats = {"*.v_proj": "w8", "*.up_proj": "f16", "*": "w4g64"}
    gm = run(llama, "quantize{bits=w4a8},merge-linears", formats)
    assert formats_of(gm) == {
        "{q_proj,k_proj}": ("w4g64", "a8"), "v_proj": ("w8", "a8"), "o_proj": ("w4g64", "a8"),
        "gate_proj": ("w4g64", "a8"), "up_proj": ("f16", "a16"), "down_proj": ("w4g64", "a8"),
        "lm_head": ("w8g32", "a8"),
    }  # fmt: skip
    assert formats_of(run(llama, "quantize{bits=w4a8}", {"lm_head": "w8g128"}))["lm_head"] == ("w8g128", "a8")


def test_quantizing_first_gives_what_merging_first_gives(llama):
    first, second = (run(llama, text) for text in ("quantize,merge-linears", "merge-linears,quantize"))
    lines = [sorted(line.split(" = ", 1)[-1] for line in show(gm).splitlines()) for gm in (first, second)]
    assert len(lines[0]) == len(lines[1])
    assert formats_of(first) == formats_of(second)


def test_q_and_v_alike_beside_another_k_stay_apart(llama):
    gm = run(llama, "quantize{bits=w4a8},merge-linears", {"*.k_proj": "w8"})
    assert {"q_proj", "k_proj", "v_proj", "{gate_proj,up_proj}"} <= set(formats_of(gm))


def test_formats_that_cannot_store_a_width_are_listed():
    text = (
        "%x = input : f32[1, s, 24]\n%w = weight w : f32[32, 24]\n"
        "%y = aten.linear(%x, %w) : f32[1, s, 32] @ odd.proj\nreturn %y\n"
    )
    with pytest.raises(UnsupportedError, match=r"odd\.proj: w8g128: .*24"):
        run(text, "quantize{bits=fp32}", {"odd.proj": "w8g128"})


def on_grid(text, names, fmt="w4g32a"):
    gm, found = parse(text), WeightFormat.parse(fmt)
    for linear in calls(gm, "aten.linear"):
        if hf_name(linear).rsplit(".", 1)[-1] in names:
            w = torch.randn(arguments(linear)["weight"].meta["val"].shape, generator=torch.Generator().manual_seed(0))
            tables = (None if t is None else torch.from_numpy(t) for t in quantize(w, found))
            put_on_grid(gm, linear, *tables, found)
    verify(gm, types=True)
    return gm


def test_grids_win_over_formats_and_are_merged_with_their_like(llama):
    gm = on_grid(llama, ("q_proj", "k_proj", "gate_proj"))
    run_pipeline(gm, parse_pipeline("quantize{bits=w4a8g32a},merge-linears"), Context(formats={"*": "w8"}))
    verify(gm, types=True)
    assert formats_of(gm)["{q_proj,k_proj}"] == ("w4g32a", "a8")
    assert formats_of(gm)["v_proj"] == formats_of(gm)["up_proj"] == ("w8", "a8")
    merged = calls(gm, "edgeq.qlinear")[0]
    assert [str(n.meta["val"].dtype) for n in merged.args[1:] if n is not None] == [
        "torch.uint8", "torch.float16", "torch.uint8",
    ]  # fmt: skip


def test_merging_grids_first_gives_the_same_codes(llama):
    gm = on_grid(llama, ("q_proj", "k_proj", "v_proj", "up_proj"))
    run_pipeline(gm, parse_pipeline("merge-linears,quantize{bits=w4a8g32a}"))
    verify(gm, types=True)
    merged = calls(gm, "edgeq.qlinear")[0]
    assert [n.target for n in merged.args[1].args[0]] == [
        f"model_layers_0_self_attn_{name}_proj_codes" for name in "qkv"
    ]
    assert formats_of(gm)["gate_proj"] == ("w4g32a", "a8")  # apart: up alone is on a grid


def test_decisions_about_grids_are_told_apart(llama):
    gm = on_grid(llama, ("q_proj", "k_proj", "v_proj", "o_proj"))
    keys = [key_of(linear) for linear in calls(gm, "aten.linear")]
    assert len(set(keys)) == len(keys)
    assert [spot.key for spot in spots(gm)][1] == "model.layers.0.self_attn.o_proj.weight #1"


def test_a_grid_that_another_pass_changed_is_refused(llama):
    gm = on_grid(llama, ("down_proj",))
    linear = next(n for n in calls(gm, "aten.linear") if hf_name(n).endswith("down_proj"))
    with gm.graph.inserting_before(linear):
        from edgeq.passes.folds.folding import apply

        apply(linear, "weight", "aten.mul.Tensor", 2.0)
    with pytest.raises(UnsupportedError, match=r"what rounds must come last.*\n.*down_proj"):
        run_pipeline(gm, parse_pipeline("quantize"))


@pytest.mark.parametrize(
    "codes, scale, zero, match",
    [
        (torch.zeros(2, 3), torch.ones(2, 1).half(), None, "codes of w4"),
        (torch.zeros(64, 128, dtype=torch.uint8), torch.ones(64, 1), None, "scale of w4"),
        (torch.full((64, 128), 16, dtype=torch.uint8), torch.ones(64, 1).half(), None, "beyond the 16 of w4"),
        (torch.zeros(64, 128, dtype=torch.uint8), torch.ones(64, 1).half() / 0, None, "not finite"),
        (torch.zeros(64, 128, dtype=torch.uint8), torch.ones(64, 1).half(), torch.zeros(64, 1), "no zero points"),
    ],
)
def test_tables_of_another_shape_or_range_are_refused(codes, scale, zero, match, llama):
    gm = parse(llama)
    linear = next(n for n in calls(gm, "aten.linear") if hf_name(n).endswith("down_proj"))
    with pytest.raises(UsageError, match=match):
        put_on_grid(gm, linear, codes, scale, zero, WeightFormat.parse("w4"))


def test_searches_simulate_the_linear_s_own_format(llama):
    gm = on_grid(llama, ("q_proj",), "w3g64a")
    q, k, v, o = calls(gm, "aten.linear")[:4]
    context = Context(bits=Bits.parse("w4a8"), formats={"*.k_proj": "w8g128", "*.v_proj": "f16"})
    assert quant_of(q, context) == QuantSpec(3, 64, False, "token")
    assert quant_of(k, context) == QuantSpec(8, 128, True, "token")
    assert quant_of(v, context) == QuantSpec(16, act="none")
    assert quant_of(o, context) == QuantSpec(4, 32, True, "token")
    assert quant_of(k, context, "w2a16") == QuantSpec(2, 64, True)
    assert quant_of(o, Context(bits=Bits.parse("w2a4"))) == QuantSpec(2, 64, True, "token", 4)
