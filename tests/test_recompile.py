"""Compiling again from what an artifact recorded, and going on after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import edgeq
from edgeq.artifact import resume
from edgeq.artifact.resume import resume_folder
from edgeq.calibrate.data import Data
from edgeq.compiling.continued import fingerprint
from edgeq.compiling.measured import Measured
from edgeq.compiling.options import make_options
from edgeq.compiling.recipes import resolve
from edgeq.errors import UsageError
from edgeq.frontend.source import Source
from edgeq.quant.bits import Bits

SHORT = {"context": 64, "chunk": 16}
WORDS = "abcdefgh"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def recipe(artifact: edgeq.Artifact) -> dict:
    return json.loads((artifact.path / "edgeq.json").read_text())["recipe"]


@pytest.fixture
def threads():
    """Call it with a number of torch threads; the old number is put back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory) -> Path:
    """A BERT of two layers with outliers in its norms, and a WordPiece tokenizer of eight letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "bert"
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = BertModel(BertConfig(**sizes, vocab_size=13, max_position_embeddings=16))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.4 if weight.ndim > 1 else 0.1)
    model.save_pretrained(folder)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_an_encoder_is_made_again_byte_for_byte_whatever_the_threads(tiny_bert, tmp_path, threads):
    notes = tmp_path / "notes.jsonl"
    notes.write_text("".join(json.dumps({"text": " ".join(WORDS[i:] + WORDS[:i])}) + "\n" for i in range(8)))
    threads(2)
    first = edgeq.compile(
        str(tiny_bert), bits="w8a8", output=tmp_path / "first", lengths=(8, 16), calib=str(notes), calib_samples=4
    )
    threads(1)
    again = edgeq.recompile(first.path / "edgeq.json", tmp_path / "again")
    assert files(first.path) == files(again.path)
    assert torch.get_num_threads() == 1
    made = recipe(first)
    assert [text.split("{")[0] for text in made["passes"]] == ["smooth"]
    assert (made["calibration"]["samples"], made["calibration"]["threads"]) == (4, 2)
    notes.write_text(notes.read_text().replace("c d", "d c"))
    with pytest.raises(UsageError, match="other data than the recipe was measured on"):
        edgeq.recompile(first.path, tmp_path / "third")
    anew = edgeq.recompile(first.path, tmp_path / "third", calib="")
    assert recipe(anew)["options"] == {**made["options"], "calib": ""}


def test_best_is_not_worse_than_fast_and_made_again_without_a_search(tiny_model, tmp_path, monkeypatch):
    first = edgeq.compile(
        str(tiny_model), bits="w8a8", output=tmp_path / "first", recipe="best", calib_length=64, **SHORT
    )
    made = recipe(first)
    damage = {tuple(one["passes"]): one["damage"] for one in made["candidates"]}
    assert list(damage.values()) == sorted(damage.values())
    assert made["passes"] == made["candidates"][0]["passes"]
    assert damage[tuple(made["passes"])] <= damage[tuple(resolve("fast", "decoder", Bits.parse("w8a8")))]
    assert () in damage and all(value > 0 for value in damage.values())
    monkeypatch.setattr("edgeq.compiling.recipes_best.best", None)
    again = edgeq.recompile(first.path, tmp_path / "again")
    assert files(first.path) == files(again.path)


def test_an_interrupted_compile_goes_on_from_what_it_measured(tiny_model, tmp_path, monkeypatch):
    given = {"bits": "w8a8", **SHORT}
    whole = edgeq.compile(str(tiny_model), output=tmp_path / "whole", **given)
    monkeypatch.setattr(resume, "WORTH_S", 0.0)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("edgeq.compiling.compiler.write_library", interrupted)
        with pytest.raises(KeyboardInterrupt):
            edgeq.compile(str(tiny_model), output=out, **given)
    assert resume_folder(out).is_dir() and not out.exists()
    with pytest.raises(UsageError, match="another one: seed"):
        edgeq.compile(str(tiny_model), output=out, resume=True, seed=1, **given)
    monkeypatch.setattr("edgeq.passes.folds.calibrated.stream", None)
    resumed = edgeq.compile(str(tiny_model), output=out, resume=True, **given)
    assert files(resumed.path) == files(whole.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


def interrupted(*_args, **_kwargs):
    raise KeyboardInterrupt


class Checkpoint:
    """Tensors of a scalar and a matrix."""

    def __init__(self, scale: float, row: float) -> None:
        self.tensors = {"logit_scale": torch.tensor(scale), "w": torch.tensor([[row, 1.0], [2.0, 3.0]])}

    def names(self):
        return list(self.tensors)

    def shape(self, name):
        return tuple(self.tensors[name].shape)

    def read(self, name, rows=None):
        return self.tensors[name] if rows is None else self.tensors[name][rows]


def test_another_checkpoint_at_the_same_place_is_another_compile():
    measured = Measured(Data("none", "0"), "")
    prints = [
        fingerprint(Source("m", None, Checkpoint(*values)), make_options("m"), measured)
        for values in ((1.0, 2.0), (1.0, 2.0), (3.0, 2.0), (1.0, 4.0))
    ]
    assert prints[0] == prints[1] and all(prints[0]["weights"] != other["weights"] for other in prints[2:])
    moved = fingerprint(Source("n", None, Checkpoint(1.0, 2.0)), make_options("n", context=64), measured)
    assert moved == prints[0]
