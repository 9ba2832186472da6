"""Rotated models compiled and run beside the reference executor, and beside the same models as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import static_zoo as zoo
from zoo_compiled import compare, one_isa

import edgeq
from edgeq.compiling.compiler import compile_into
from edgeq.compiling.options import Options
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.source import open_model
from edgeq.ir.execute import Reference
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session

TOKENS = (np.arange(40) * 37 % 200).tolist()
ROTATE = "rotate{r4=true}"
OWN = "add-cache{context=64},last-row,merge-linears,quantize{bits=%s}"


def compiled(model: Path, bits: str, output: Path, *passes: str) -> Path:
    """An artifact with 40 tokens of room and chunks of 16 rows; no pass at all where none is given."""
    return edgeq.compile(
        str(model), bits=bits, output=output, context=64, chunk=16, passes=passes or ("rotate{r1=false,r2=false}",)
    ).path  # fmt: skip


def decoded(folder: Path) -> np.ndarray:
    """Logits [tokens, vocabulary], token by token."""
    with Session(folder, threads=2) as session:
        return session.logits(TOKENS)


def prefilled(folder: Path) -> np.ndarray:
    """Logits of the last token, all tokens in chunks."""
    with Session(folder, threads=2) as session:
        session.feed(TOKENS)
        return session.last_logits()


def reference(model: Path, bits: str, passes: str) -> np.ndarray:
    source = open_model(str(model))
    graph = load_entries(source, Shapes())[0].gm
    run_pipeline(graph, parse_pipeline(f"{passes},{OWN % bits}"), Context(source.weights))
    return Reference(graph, source.weights).forward(TOKENS).numpy()


def differ(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize(("bits", "most"), [("w4a16", 1e-4), ("w8a8", 0.05)])
def test_a_rotated_model_is_what_the_reference_computes(bits: str, most: float, tiny_model: Path, tmp_path: Path):
    """int8 ties may be rounded the other way, so w8a8 is compared loosely."""
    folder = compiled(tiny_model, bits, tmp_path / "rotated", ROTATE)
    rows = decoded(folder)
    assert differ(rows, reference(tiny_model, bits, ROTATE)) < most
    assert np.array_equal(prefilled(folder), rows[-1])  # a chunk is its rows, bit for bit


def test_rotations_change_nothing_in_float(tiny_model: Path, tmp_path: Path):
    plain = decoded(compiled(tiny_model, "fp32", tmp_path / "plain"))
    rotated = decoded(compiled(tiny_model, "fp32", tmp_path / "rotated", ROTATE))
    assert differ(rotated, plain) < 1e-4


def test_the_plan_rotates_between_the_product_and_its_quantization(tiny_model: Path, tmp_path: Path):
    artifact = edgeq.load(compiled(tiny_model, "w4a8", tmp_path / "artifact", ROTATE))
    for entry in artifact.manifest["entries"]:
        kernels = [name for region in entry["regions"] for name in region["kernels"]]
        at = [i for i, name in enumerate(kernels) if name.startswith("hadamard")]
        assert len(at) == 2
        assert all("gated" in kernels[i - 1] and kernels[i + 1].startswith("quantize") for i in at)


@pytest.mark.parametrize("name", ["vit_classes", "t5"])
def test_other_architectures_keep_their_outputs(name: str, tmp_path: Path):
    """Static entries, an encoder-decoder: every output in float beside eager PyTorch."""
    eager = zoo.save(name, tmp_path / "model")
    recipe = zoo.ZOO[name]
    shapes = Shapes(recipe.batches, recipe.lengths or (128,))
    options = Options(str(tmp_path / "model"), one_isa(), Bits.parse("fp32"), 32, 16, shapes=shapes, passes=(ROTATE,))
    (tmp_path / "artifact").mkdir()
    compile_into(tmp_path / "artifact", options, lambda *_: None)
    with Session(tmp_path / "artifact", threads=2) as session:
        found = compare(session, zoo.runs(name, eager, recipe.batches[0]))
    assert found.error <= 1e-4, found.worst()
    kernels = (tmp_path / "artifact" / "edgeq.json").read_text()
    assert "hadamard_" in kernels


def test_names_of_tensors_are_of_the_matrices_that_they_hold(tiny_model: Path, tmp_path: Path):
    artifact = edgeq.load(compiled(tiny_model, "w4a8", tmp_path / "artifact", ROTATE))
    names = {tensor["name"] for tensor in artifact.manifest["tensors"]}
    assert "model.layers.0.self_attn.q_proj+k_proj+v_proj.weight" in names
    assert {"model.embed_tokens.weight", "model.embed_tokens.weight#1"} <= names  # tied before, two now
