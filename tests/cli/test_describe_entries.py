"""Entries of an artifact as text: tensors, fused modules, kernels, the ops of glue."""

from __future__ import annotations

from edgeq.cli.describe_entries import entries_text, entry_text, tensors_text


def region(layer: int, *kernels: str) -> dict:
    modules = [f"encoder.layer.{layer}.attention", f"encoder.layer.{layer}.output.LayerNorm"]
    return {"kind": "gemm", "modules": modules, "kernels": [*kernels], "weight_bytes": 500_000, "ops": 2_000_000}


ENTRY = {
    "name": "text_32x2",
    "kind": "static",
    "base": "text",
    "batch": 2,
    "length": 32,
    "max_rows": 1,
    "inputs": [{"name": "input_ids", "dtype": "i32", "shape": [2, 32], "row_stride": 32}],
    "outputs": [
        {"name": "hidden", "dtype": "f32", "shape": [2, 32, 100], "row_stride": 112},
        {"name": "score", "dtype": "f32", "shape": [], "row_stride": 1},
    ],
    "regions": [region(0, "gemm_a"), region(1, "gemm_a"), region(2, "glue_1", "gemm_a")],
}
KERNELS = [
    {"name": "gemm_a", "unit": "row", "weight_bytes": 500_000, "ops": 1, "family": "linear_int.gemm", "what": ""},
    {"name": "glue_1", "unit": "row", "weight_bytes": 0, "ops": 0, "family": "glue", "what": "add_softmax -> [2]"},
]


def test_tensors_say_type_shape_and_stride():
    lines = [line.split() for line in tensors_text([ENTRY]).splitlines()]
    assert lines[1:] == [
        ["text_32x2", "in", "input_ids", "int32", "2x32", "32"],
        ["text_32x2", "out", "hidden", "float32", "2x32x100", "112"],
        ["text_32x2", "out", "score", "float32", "one", "value", "1"],
    ]
    assert tensors_text([{"name": "decode", "inputs": [], "outputs": []}]) == ""


def test_layers_that_call_the_same_kernels_are_one_item():
    text = entry_text(ENTRY, KERNELS)
    assert text.startswith("text_32x2: static entry, batch 2, 32 tokens\n")
    assert "region 0 x2: gemm, 1.0 MB of weights, 4.0 M multiply-adds\n" in text
    assert "    of encoder.layer.*.attention, encoder.layer.*.output.LayerNorm\n    by gemm_a\n" in text
    assert "    by glue_1 (add_softmax -> [2])\n    by gemm_a\n" in text
    assert [line.split() for line in text.splitlines()[-2:]] == [["linear_int.gemm", "3", "1", "1,500,000"],
                                                                 ["glue", "1", "1", "0"]]  # fmt: skip


def test_a_line_an_entry():
    decode = ENTRY | {"name": "decode", "kind": "token", "max_rows": 16}
    lines = [line.split() for line in entries_text([ENTRY, decode]).splitlines()]
    assert lines[1:] == [
        ["text_32x2", "static", "-", "3", "4", "1.5", "MB", "6.0", "M"],
        ["decode", "token", "16", "3", "4", "1.5", "MB", "6.0", "M"],
    ]
