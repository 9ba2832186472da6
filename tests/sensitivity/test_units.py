from __future__ import annotations

from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.format import WeightFormat
from edgeq.sensitivity.units import parts


def test_linears_that_will_be_merged_are_one_unit(tiny) -> None:
    found = parts(tiny[1][0].gm)
    leaves = [[name.rsplit(".", 1)[-1] for name in unit.modules] for unit in found]
    layer = [["q_proj", "k_proj", "v_proj"], ["o_proj"], ["gate_proj", "up_proj"], ["down_proj"]]
    assert leaves == [*layer, *layer, ["lm_head", "embed_tokens"]]
    assert [unit.shape for unit in found] == [*[(128, 64), (64, 64), (320, 64), (64, 160)] * 2, (272, 64)]
    assert [unit.kind for unit in found] == ["linear"] * 8 + ["head"]
    assert len({unit.key for unit in found}) == 9


def test_units_are_the_products_of_the_compiler(tiny) -> None:
    from edgeq.frontend.entries import Shapes, load_entries
    from edgeq.ir.graph import calls

    entry = load_entries(tiny[0], Shapes())[0]
    units = parts(entry.gm)
    run_pipeline(entry.gm, parse_pipeline("quantize{bits=w4a8},merge-linears"), Context(tiny[0].weights))
    assert len(calls(entry.gm, "edgeq.qlinear")) == len(units)


def test_bytes_are_those_of_packed_weights(tiny) -> None:
    fmt = WeightFormat.parse("w4g32")
    found = parts(tiny[1][0].gm)
    assert found[0].bytes(fmt) == fmt.nbytes(128, 64)
    assert found[-1].bytes(fmt) == fmt.nbytes(272, 64)  # the tied table once
