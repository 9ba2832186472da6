"""Imported codes through the whole road: what the artifact holds, computes and says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import checkpoints as made
import numpy as np
import pytest
from test_checkpoints import gptq_config
from test_gguf_blocks import kept, quantized_file

import edgeq
from edgeq.artifact.manifest import read
from edgeq.cli.describe import imports_text
from edgeq.compiling.calibrated import own_passes
from edgeq.compiling.config import read_config
from edgeq.errors import UsageError
from edgeq.ir.execute import Reference
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import run_pipeline
from edgeq.quant.bits import Bits

TOKENS = [3, 14, 15, 92, 65, 35, 89, 79, 32]
SHAPE = {"context": 32, "chunk": 16}


def reference(model: Path) -> np.ndarray:
    """Logits of the graph with its codes, by the reference executor."""
    prepared = kept(model)
    entry, bits = prepared.entries[0], Bits.parse("w4a8")
    run_pipeline(entry.gm, own_passes(entry, bits, 32), Context(prepared.source.weights, bits=bits))
    return Reference(entry.gm, prepared.source.weights).forward(TOKENS).numpy()


def compared(model: Path, folder: Path) -> edgeq.Artifact:
    made_of = edgeq.compile(str(model), output=folder, **SHAPE)
    found, want = made_of.logits(TOKENS), reference(model)
    np.testing.assert_allclose(found, want, rtol=0, atol=2e-3 * np.abs(want).max())
    return made_of


def test_a_gguf_becomes_an_artifact_with_its_codes_and_no_more_bytes(tmp_path: Path) -> None:
    file = quantized_file(tmp_path, {"token_embd.weight": "Q8_0", "output.weight": "F32"}, "Q4_1")
    artifact = compared(file, tmp_path / "a")
    manifest = read(artifact.path)
    layers = [t for t in manifest.tensors if t.format == "w4g32m"]
    assert layers and all(t.bytes <= t.source_bytes for t in layers)
    assert sum(record["outcome"] == "kept" for record in manifest.imports) == len(manifest.imports)
    text = imports_text(asdict(manifest))
    assert "GGUF Q4_1 -> w4g32m: 12 kept exactly" in text and "GGUF Q8_0 -> w8g32: 1 kept exactly" in text
    assert read_config(artifact.path)["bits"] == "keepa8" and not manifest.recipe["passes"]


def test_columns_sorted_by_group_are_gathered(tmp_path: Path) -> None:
    made.write(tmp_path / "m", gptq_config(4, 32), made.gptq(4, 32, False, False, act_order=True))
    artifact = compared(tmp_path / "m", tmp_path / "a")
    orders = [t for t in read(artifact.path).tensors if t.format == "i32"]
    assert len(orders) == 8  # q, k, v and gate, up share one


def test_budgets_and_other_formats_are_refused(tmp_path: Path) -> None:
    made.write(tmp_path / "m", gptq_config(4, 32), made.gptq(4, 32, False, False))
    with pytest.raises(UsageError, match=r"--formats: model.*v_proj.* keeps its codes, w4g32a; w8 would"):
        edgeq.compile(str(tmp_path / "m"), formats={"*.v_proj": "w8"}, output=tmp_path / "a")
    with pytest.raises(UsageError, match="a budget chooses formats"):
        edgeq.compile(str(tmp_path / "m"), bits="w4a8g32a", target_size="1MB", output=tmp_path / "a")
