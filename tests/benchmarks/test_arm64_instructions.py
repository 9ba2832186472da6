"""What benchmarks/arm64_instructions.py makes of counted instructions: parts of the model, ratios, the table."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from arm64_figures import _EDGEQ, _LLAMA_CPP, Figures, split
from arm64_instructions import arguments, earlier
from arm64_table import best, breakdown, table


def figures(system: str, variant: str, decode: float, prefill: float, cpu: str = "max") -> Figures:
    functions = {"decode": {"gemv": decode}, "prefill": {"gemm": prefill}}
    parts = {entry: split(counts, {"linears": "gem"}) for entry, counts in functions.items()}
    return Figures(cpu, system, variant, "w4a8", 89_810_496, {128: prefill}, functions, parts)


ROWS = [
    figures("llama.cpp", "dotprod, gcc", 44e6, 18e6),
    figures("llama.cpp", "i8mm, gcc", 52e6, 16e6),
    figures("llama.cpp", "dotprod, gcc", 1e6, 1e6, cpu="cortex-a76"),
    figures("edgeq", "i8mm", 22e6, 12e6),
]


def test_functions_belong_to_the_first_part_that_names_them() -> None:
    ours = {
        "gemv_w8g32_100x8_store_i8mm": 1.0,
        "gemm_w4g32_8x8_add_i8mm": 2.0,
        "attention_chunk_i8mm": 4.0,
        "walk": 8.0,
    }
    assert split(ours, {"head": "^gemv_w8g32_100x8_", **_EDGEQ}) == {
        "linears": 2.0, "head": 1.0, "attention": 4.0, "norm, quantize": 0.0, "rest": 8.0,
    }  # fmt: skip
    theirs = {
        "ggml_gemv_q8_0_4x4_q8_0": 1.0,
        "ggml_gemm_q4_0_4x8_q8_0": 2.0,
        "quantize_row_q8_0": 4.0,
        "ggml_vec_dot_f16": 8.0,
    }
    assert split(theirs, _LLAMA_CPP) == {
        "linears": 2.0, "head": 1.0, "attention": 8.0, "norm, quantize": 4.0, "rest": 0.0,
    }  # fmt: skip


def test_ratios_are_to_the_best_build_of_each_column_on_that_cpu() -> None:
    assert best(ROWS, "max", lambda row: row.decode) == 44e6
    last = table(ROWS).splitlines()[-1]
    assert "22.00 = **0.50x**" in last
    assert "12.00 = **0.75x**" in last
    assert "| max | edgeq (i8mm) | 22.00 |" in breakdown(ROWS, "decode")


def test_rows_of_the_peer_are_taken_from_an_earlier_run(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"rows": [dataclasses.asdict(row) for row in ROWS]}))
    assert earlier([path], "max") == ROWS[:2]


def test_both_prompt_lengths_and_the_default_format_unless_told() -> None:
    assert (arguments([]).prompt, arguments([]).bits) == ([128, 512], ["w4a8"])
    assert arguments(["--prompt", "64", "--bits", "w8a8"]).prompt == [64]
