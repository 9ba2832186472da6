"""GGUF blocks of any bytes: codes and numbers stand for what the gguf package says that they do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_gguf import tiny, write

from edgeq.compiling.options import make_options
from edgeq.compiling.prepared import Prepared, prepare
from edgeq.errors import UnsupportedError
from edgeq.frontend import open_model
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.imports.gguf_blocks import TYPES, held
from edgeq.imports.plan import import_codes
from edgeq.imports.record import AGAIN, KEPT, ROUNDED
from edgeq.ir.graph import arguments, calls

EXACT = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0", "MXFP4"}
NUMBERS = {"Q4_0": 1, "Q4_1": 2, "Q5_0": 1, "Q5_1": 2, "Q8_0": 1, "TQ1_0": 1, "TQ2_0": 1, "Q2_K": 2, "Q3_K": 1,
           "Q4_K": 2, "Q5_K": 2, "Q6_K": 1}  # fmt: skip
AT = {"Q2_K": 80, "Q3_K": 108, "Q6_K": 208, "TQ1_0": 52, "TQ2_0": 64}  # where the f16 numbers lie, else in front


def blocks(kind: str, rows: int, columns: int, seed: int) -> np.ndarray:
    """Any bytes, but numbers that are finite (and ternary codes that are none of 3)."""
    rng = np.random.default_rng(seed)
    size, nbytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    raw = rng.integers(0, 256, (rows * columns // size, nbytes), dtype=np.uint8)
    if kind == "MXFP4":
        raw[:, 0] = rng.integers(115, 135, len(raw))
        return raw
    at, count = AT.get(kind, 0), NUMBERS[kind]
    raw[:, at : at + 2 * count] = rng.normal(0, 0.1, (len(raw), count)).astype(np.float16).view(np.uint8)
    if kind.startswith("TQ"):
        any_ternary = rng.normal(size=(len(raw), 256)).astype(np.float32)
        raw[:, :at] = gguf.quantize(any_ternary, gguf.GGMLQuantizationType[kind])[:, :at]
    return raw


@pytest.mark.parametrize("kind", TYPES)
@settings(deadline=None, max_examples=6)
@given(seed=st.integers(0, 2**32 - 1))
def test_codes_stand_for_the_values_of_the_reference(kind: str, seed: int) -> None:
    rows, columns = 3, 512
    raw = blocks(kind, rows, columns, seed)
    found = held(kind, raw, rows)
    want = gguf.dequantize(raw.reshape(rows, -1), gguf.GGMLQuantizationType[kind])
    np.testing.assert_array_equal(found.values().numpy(), want)
    assert int(found.codes.max()) < found.fmt.codes
    assert (found.rounding(kind) == 0) == (kind in EXACT)


def quantized_file(tmp_path: Path, kinds: dict[str, str], default: str) -> Path:
    """A tiny Llama whose matrices have a GGUF type, by the end of their names."""
    original = gguf.GGUFWriter.add_tensor

    def add(self: Any, name: str, tensor: np.ndarray, **_: Any) -> None:
        if tensor.ndim == 1:
            return original(self, name, tensor)
        kind = gguf.GGMLQuantizationType[next((k for end, k in kinds.items() if name.endswith(end)), default)]
        original(self, name, gguf.quantize(tensor, kind), raw_dtype=kind)

    path = tmp_path / "m.gguf"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gguf.GGUFWriter, "add_tensor", add)
        write(path, "llama", tiny("llama"), pre="smollm")
    return path


def kept(path: Path, **options: Any) -> Prepared:
    return prepare(make_options(str(path), **options), lambda *_: None)


def test_a_file_keeps_its_codes_rows_of_q_and_k_in_order(tmp_path: Path) -> None:
    path = quantized_file(tmp_path, {"attn_v.weight": "Q4_0", "token_embd.weight": "Q8_0"}, "Q4_1")
    prepared = kept(path)
    assert {(r.source, r.format) for r in prepared.source.imports} == {
        ("GGUF Q4_0", "w4g32"), ("GGUF Q4_1", "w4g32m"), ("GGUF Q8_0", "w8g32")}  # fmt: skip
    assert {r.outcome for r in prepared.source.imports} == {KEPT}
    weights = prepared.source.weights
    for record in prepared.source.imports:
        found = weights.stored.held(record.name).values()
        assert torch.equal(found, weights.stored.stored.read(record.name)), record.name
        row = weights.read(f"{record.name}_codes", slice(3, 5))
        assert torch.equal(row, weights.stored.held(record.name).codes[3:5])
    grids = calls(prepared.entries[0].gm, "edgeq.grid")
    assert {arguments(node)["weight"] for node in grids} == {"w4g32", "w4g32m", "w8g32"}


def test_a_demo_with_bits_is_a_float_model(tmp_path: Path) -> None:
    source = open_model(str(quantized_file(tmp_path, {}, "Q4_0")))
    source.name = "demo:tiny"
    entries = load_entries(source, Shapes())
    import_codes(source, entries, make_options("demo:tiny", bits="w4a8", recipe="balanced"), lambda *_: None)
    assert {r.outcome for r in source.imports} == {AGAIN} and not calls(entries[0].gm, "edgeq.grid")
    import_codes(source, entries, make_options("demo:tiny", recipe="balanced"), lambda *_: None)
    assert {r.outcome for r in source.imports} == {AGAIN}
    import_codes(source, entries, make_options("demo:tiny"), lambda *_: None)
    assert {r.outcome for r in source.imports} == {KEPT}


def test_what_no_format_holds_is_named_and_quantized_again_when_asked(tmp_path: Path) -> None:
    path = quantized_file(tmp_path, {"output.weight": "F32", "ffn_up.weight": "Q8_0"}, "Q4_1")
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(TYPES, "Q8_0")
        with pytest.raises(UnsupportedError, match=r"no format of ours has the grid of Q8_0"):
            kept(path)
        prepared = kept(path, requantize=True)
    again = {r.name: r for r in prepared.source.imports if r.outcome == AGAIN}
    assert list(again) and all("up_proj" in name and r.format == "w8g32" for name, r in again.items())
    assert {r.outcome for r in prepared.source.imports} - {AGAIN, KEPT, ROUNDED} == set()
