"""Packaged programs of tiny models: a chat and a classifier for this machine, a chat for arm64."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import edgeq
from edgeq.package.package import package

SMALL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"##{c}" for c in "abcdefgh"))


@dataclass(frozen=True)
class Program:
    """An artifact and the program made of it; `call` is how the program is started."""

    artifact: edgeq.Artifact
    path: Path
    call: tuple[str, ...]

    def run(self, *arguments: str, given: str | bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end; `given`: what stdin holds."""
        data = given.encode() if isinstance(given, str) else given
        return subprocess.run([*self.call, *arguments], input=data, capture_output=True, timeout=120, check=False)

    def answer(self, *arguments: str, given: str | None = None) -> str:
        """Its stdout, after it succeeded."""
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()


def made(artifact: edgeq.Artifact, out: Path, before: Sequence[str] = ()) -> Program:
    path = package(artifact.path, out).path
    return Program(artifact, path, (*before, str(path)))


@pytest.fixture(scope="session")
def chat(tiny_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Program:
    return made(edgeq.load(tiny_artifact), tmp_path_factory.mktemp("chat") / "app")


@pytest.fixture(scope="session")
def arm_program(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chat for arm64."""
    folder = tmp_path_factory.mktemp("arm64")
    options = {"bits": "w4a8", "target": "arm64", "context": 64, "chunk": 16}
    artifact = edgeq.compile(str(tiny_model), output=folder / "tiny", **options)
    return package(artifact.path, folder / "app").path


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Program:
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("classifier")
    config = transformers.BertConfig(**SMALL, vocab_size=len(PIECES), max_position_embeddings=16, num_labels=7)
    model = transformers.BertForSequenceClassification(config)
    _save(torch, model, folder / "bert")
    artifact = edgeq.compile(str(folder / "bert"), bits="fp32", output=folder / "out", lengths=(16,), batch=(1,))
    return made(artifact, folder / "app")


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Program:
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("embedder")
    model = transformers.BertModel(transformers.BertConfig(**SMALL, vocab_size=len(PIECES), max_position_embeddings=16))
    _save(torch, model, folder / "bert")
    artifact = edgeq.compile(str(folder / "bert"), bits="w8a8", output=folder / "out", lengths=(8, 16), batch=(2,))
    return made(artifact, folder / "app")


def _save(torch, model, folder: Path) -> None:
    """Weights large enough for answers to differ, and a WordPiece tokenizer of eight letters."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.4 if weight.ndim > 1 else 0.1)
    model.eval().save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", special_tokens=special)
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(list(PIECES[:5]))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[PAD]", "model_max_length": 14}))
