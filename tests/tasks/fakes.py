"""A session whose entries are Python functions, and small tokenizers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "b", "c", "d", "e", "f", "g", "h"]
SPECIAL = {"pad_token": "[PAD]", "eos_token": "[SEP]", "mask_token": "[UNK]"}


class FakeSession:
    """Runs functions of numpy arrays; `runs` are the entries that ran, with their inputs.

    Tensors stay as the real session keeps them: an output is an input of the same name for whoever runs next.
    """

    def __init__(self, **entries: Callable[..., dict[str, np.ndarray]]) -> None:
        self.entries, self.runs = entries, []
        self._held: dict[str, np.ndarray] = {}

    def run(self, name: str, /, *, copy: bool = True, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        assert all(array.dtype in (np.float32, np.int32) for array in inputs.values())
        self.runs.append((name, inputs))
        self._held |= inputs
        outputs = self.entries[name](self._held)
        self._held |= outputs
        return {key: value.copy() for key, value in outputs.items()}

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.runs]


class FakeDecoder(FakeSession):
    """Also a token entry: `logits(tokens)` f32[vocab] after the tokens fed so far."""

    def __init__(self, logits: Callable[[list[int]], np.ndarray], context: int = 32, **entries: Any) -> None:
        super().__init__(**entries)
        self._logits, self.fed = logits, []
        self.info = SimpleNamespace(context=context)

    @property
    def position(self) -> int:
        return len(self.fed)

    def rewind(self, position: int = 0) -> None:
        del self.fed[position:]

    def feed(self, tokens) -> None:
        self.fed += [int(token) for token in tokens]

    def last_logits(self) -> np.ndarray:
        return self._logits(self.fed)


def write_word_tokenizer(folder: Path, cut_to: int = 0, **settings: Any) -> Path:
    """One token a word of WORDS, [CLS] before and [SEP] behind; `cut_to`: a truncation baked into tokenizer.json."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in WORDS[:4]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    if cut_to:
        tokenizer.enable_truncation(cut_to)
        tokenizer.enable_padding(length=cut_to)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(SPECIAL | settings))
    return folder
