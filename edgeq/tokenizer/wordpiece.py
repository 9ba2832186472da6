"""WordPiece and WordLevel: a vocabulary of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.tokenizer.blob import Blob, Word
from edgeq.tokenizer.vocabulary import fallback_bytes, write_bytes, write_index, write_texts

WORDPIECE, WORDLEVEL = 1, 3


def write_wordpiece(blob: Blob, model: dict[str, Any], texts: Sequence[bytes]) -> None:
    """The model's sections."""
    vocab: dict[str, int] = model["vocab"]
    if model["unk_token"] not in vocab:
        raise UnsupportedError(f"tokenizer.json: unk_token {model['unk_token']!r} is not in the vocabulary")
    wordpiece = model["type"] == "WordPiece"
    prefix = model["continuing_subword_prefix"] if wordpiece else ""
    blob.model[Word.KIND] = WORDPIECE if wordpiece else WORDLEVEL
    blob.model[Word.UNK] = vocab[model["unk_token"]]
    blob.model[Word.MAX_CHARS] = model["max_input_chars_per_word"] if wordpiece else 0
    blob.model[Word.PREFIX], blob.model[Word.PREFIX_BYTES] = blob.string(prefix)
    write_texts(blob, texts)
    write_bytes(blob, fallback_bytes(vocab))
    write_index(blob, {text.encode(): token for text, token in vocab.items()})
