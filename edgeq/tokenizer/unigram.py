"""Unigram: a vocabulary with scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeq.errors import UnsupportedError
from edgeq.tokenizer.blob import Blob, Section, Word
from edgeq.tokenizer.vocabulary import fallback_bytes, write_bytes, write_index, write_texts

KIND, BYTE_FALLBACK = 2, 2
UNK_PENALTY = 10.0  # an unknown character costs this much more than the worst token


def write_unigram(blob: Blob, model: dict[str, Any], texts: Sequence[bytes]) -> None:
    """The model's sections."""
    if model.get("unk_id") is None:
        raise UnsupportedError("tokenizer.json: Unigram without unk_id fails on unknown characters; set unk_id")
    scores = [float(score) for _, score in model["vocab"]]
    vocab = {text: token for token, (text, _) in enumerate(model["vocab"])}
    blob.model[Word.KIND] = KIND
    blob.model[Word.UNK] = model["unk_id"]
    blob.model[Word.FLAGS] = BYTE_FALLBACK if model.get("byte_fallback") else 0
    blob.put(Section.SCORES, [*scores, min(scores) - UNK_PENALTY], "<f8")
    write_texts(blob, texts)
    write_bytes(blob, fallback_bytes(vocab))
    write_index(blob, {text.encode(): token for text, token in vocab.items()})
