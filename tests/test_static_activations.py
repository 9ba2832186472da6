"""w8a8s through the whole road: artifacts beside the reference executor, which reads the same measured scales."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import write_byte_tokenizer
from torch import Tensor, fx
from zoo_compiled import one_isa

import edgeq
from edgeq.calibrate.data import open_data
from edgeq.compiling.calibrated import run_entry
from edgeq.compiling.compiler import compile_into
from edgeq.compiling.options import Options
from edgeq.errors import EdgeqError
from edgeq.frontend.entries import EntryGraph, Shapes, load_entries
from edgeq.frontend.source import Source, open_model
from edgeq.ir.execute import Reference
from edgeq.ir.graph import calls, is_weight, op
from edgeq.ir.values import call, weight_value
from edgeq.passes.pass_ import Context
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session

TOKENS = (np.arange(40) * 37 % 200).tolist()
LENGTH = 24
TEXT = "Static scales are measured once, on a text like this one, and then serve every token that comes. " * 40


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    folder = tmp_path_factory.mktemp("bert")
    BertModel(BertConfig(vocab_size=272, initializer_range=0.2, **sizes)).save_pretrained(folder)
    write_byte_tokenizer(folder)
    return folder


def quantized(model: Path, text: Path, bits: str, passes: tuple[str, ...], lengths: tuple[int, ...] = ()) -> Any:
    """(source, entry): the graph that a compile lowers, measured as a compile measures it."""
    source = open_model(str(model))
    entry = load_entries(source, Shapes(lengths=lengths or (128,)))[0]
    data = open_data(str(text), source, 0, None, None, lambda *_: None)
    context = Context(source.weights, samples=data.samples, bits=Bits.parse(bits))
    run_entry(entry, Bits.parse(bits), 64, context, passes)
    return source, entry


def compiled(model: Path, text: Path, bits: str, folder: Path, **more: Any) -> edgeq.Artifact:
    """For one instruction set of this machine, with room for 64 tokens and chunks of 16."""
    folder.mkdir()
    options = Options(str(model), one_isa(), Bits.parse(bits), 64, 16, calibration=str(text), **more)
    compile_into(folder, options, lambda *_: None)
    return edgeq.load(folder)


def differ(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize(("bits", "method"), [("w8a8s", "minmax"), ("w4a8sg64akv8", "percentile")])
def test_a_language_model_is_what_the_reference_computes(
    bits: str, method: str, tiny_model: Path, text: Path, tmp_path: Path
) -> None:
    """Ties may be rounded the other way; a chunk is its rows bit for bit."""
    passes = (f"static-ranges{{method={method}}}",)
    artifact = compiled(tiny_model, text, bits, tmp_path / "artifact", passes=passes)
    source, entry = quantized(tiny_model, text, bits, passes)
    assert {node.kwargs["act"] for node in calls(entry.gm, "edgeq.qlinear")} == {"a8s"}
    wanted = Reference(entry.gm, source.weights).forward(TOKENS).numpy()
    with Session(artifact.path, threads=2) as session:
        rows = session.logits(TOKENS)
        session.rewind(0)
        session.feed(TOKENS)
        assert np.array_equal(session.last_logits(), rows[-1])
    assert differ(rows, wanted) < 0.05
    kernels = {k for e in artifact.manifest["entries"] for region in e["regions"] for k in region["kernels"]}
    assert any(k.startswith("quantize_static") for k in kernels) and not any("quantize_k" in k for k in kernels)


def test_an_encoder_is_what_the_ops_compute(tiny_bert: Path, text: Path, tmp_path: Path) -> None:
    """The recipe brings the pass that measures; layer norms are fused."""
    artifact = compiled(tiny_bert, text, "w8a8s", tmp_path / "artifact", shapes=Shapes(lengths=(LENGTH,)))
    passes = tuple(artifact.manifest["recipe"]["passes"])
    assert passes[-1].startswith("static-ranges{")
    source, entry = quantized(tiny_bert, text, "w8a8s", passes, (LENGTH,))
    given = {"input_ids": torch.tensor([TOKENS[:LENGTH]]), "attention_mask": torch.ones(1, LENGTH, dtype=torch.int64)}
    given["token_type_ids"] = torch.zeros(1, LENGTH, dtype=torch.int64)
    wanted = evaluate(source, entry, given)
    with Session(artifact.path, threads=2) as session:
        names = {tensor.name for tensor in session.entries[0].inputs}
        taken = {name: t.numpy().astype(np.int32) for name, t in given.items() if name in names}
        got = session.run(session.entries[0].name, **taken)
    for name, want in wanted.items():
        assert differ(got[name], want.numpy()) < 0.05, name


def evaluate(source: Source, entry: EntryGraph, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """A quantized static graph op by op: every op of the dialect says in torch what it computes."""
    known: dict[fx.Node, Any] = {}
    with torch.no_grad():
        for node in entry.gm.graph.nodes:
            if node.op == "placeholder":
                known[node] = given[str(node.target)]
            elif node.op == "output":
                values = fx.map_arg(node.args[0], known.__getitem__)
                return {port.name: held for port, held in zip(entry.outputs, values, strict=True)}
            elif is_weight(node):
                known[node] = weight_value(node, source.weights)
            else:
                known[node] = call(node, known.__getitem__)
                assert op(node) != "edgeq.fake_quant"
    raise AssertionError("no output")


def test_without_samples_the_error_says_what_to_do(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match="static-ranges"):
        edgeq.compile(str(tiny_model), bits="w8a8s", output=tmp_path / "artifact", context=64, calib="none")
