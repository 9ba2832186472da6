"""`edgeq run` on artifacts compiled from tiny models, against transformers' own processors and models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from fakes import WORDS, write_word_tokenizer
from PIL import Image

import edgeq
from edgeq.cli.app import app

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
TEXTS = ["a b c", "d", "e f g h a b c d"]


def saved(model: torch.nn.Module, folder: Path) -> torch.nn.Module:
    """The model with weights large enough for answers to differ, and its files in `folder`."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.4 if weight.ndim > 1 else 0.1)
    model.eval().save_pretrained(folder)
    return model


def run(artifact: edgeq.Artifact, *given: object) -> dict:
    result = CliRunner().invoke(app, ["run", str(artifact.path), *map(str, given), "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def ids(text: str) -> torch.Tensor:
    return torch.tensor([[1, *(WORDS.index(word) for word in text.split()), 2]])


def probabilities(labels: list[dict]) -> list[float]:
    return [item["score"] for item in sorted(labels, key=lambda item: item["label"])]


@torch.no_grad()
def test_texts_are_classified_as_by_the_model(tmp_path):
    config = transformers.BertConfig(**SMALL, vocab_size=12, max_position_embeddings=16, num_labels=3)
    eager = saved(transformers.BertForSequenceClassification(config), tmp_path / "bert")
    write_word_tokenizer(tmp_path / "bert")
    artifact = edgeq.compile(str(tmp_path / "bert"), bits="fp32", output=tmp_path / "out", lengths=(8, 16), batch=(2,))
    options = [word for text in TEXTS for word in ("--text", text)]
    for text, row in zip(TEXTS, run(artifact, *options)["results"], strict=True):
        expected = eager(ids(text)).logits.softmax(-1)[0].numpy()
        assert row["input"] == text
        assert np.abs(probabilities(row["labels"]) - expected).max() < 1e-4
    with pytest.raises(edgeq.EdgeqError, match="cannot detect: use classify"):
        artifact.detect("photo.jpg")


@torch.no_grad()
def test_photos_are_classified_as_by_the_model(tmp_path):
    config = transformers.ViTConfig(**SMALL, image_size=32, patch_size=8, num_labels=3)
    eager = saved(transformers.ViTForImageClassification(config), tmp_path / "vit")
    processor = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path / "vit")
    artifact = edgeq.compile(str(tmp_path / "vit"), bits="fp32", output=tmp_path / "out")
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (45, 61, 3), np.uint8))
    photo.save(tmp_path / "photo.png")
    (row,) = run(artifact, "--image", tmp_path / "photo.png")["results"]
    expected = eager(**processor(photo, return_tensors="pt")).logits.softmax(-1)[0].numpy()
    assert np.abs(probabilities(row["labels"]) - expected).max() < 1e-4


@torch.no_grad()
def test_texts_become_the_texts_of_greedy_search(tmp_path):
    config = transformers.BartConfig(
        vocab_size=12, d_model=32, pad_token_id=0, bos_token_id=1, eos_token_id=2, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
        decoder_start_token_id=2, forced_eos_token_id=None, max_position_embeddings=32,
    )  # fmt: skip
    eager = saved(transformers.BartForConditionalGeneration(config), tmp_path / "bart")
    write_word_tokenizer(tmp_path / "bart")
    artifact = edgeq.compile(str(tmp_path / "bart"), bits="fp32", output=tmp_path / "out", lengths=(8, 16), context=32)
    for text in TEXTS:
        tokens = eager.generate(ids(text), max_new_tokens=8, num_beams=1, do_sample=False)[0].tolist()
        expected = " ".join(WORDS[token] for token in tokens if token > 3)
        assert run(artifact, "--text", text, "-n", 8)["text"].strip() == expected
