"""Models that read text: embeddings, labels of texts, labels of words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.tasks.entry import Session
from edgeq.tasks.models import entries_of, section
from edgeq.tasks.scores import Answer, ranked, scores
from edgeq.tasks.text import Row, Text, TextEntries


class TextEmbedder:
    """Texts to vectors: the pooling head's, where the model has one."""

    def __init__(self, session: Session, task: dict[str, Any], folder: Path) -> None:
        spec = section(task, "text")
        self._texts = TextEntries(session, folder, entries_of(task, "input_ids"), spec)
        self.output: str = spec["output"]

    @property
    def pooling(self) -> str:
        """Where a text's vector comes from: an output's name, or how token vectors are pooled."""
        return "mean of last_hidden_state" if self.output == "last_hidden_state" else self.output

    def embed(self, texts: Sequence[Text]) -> np.ndarray:
        """f32[n, D], a row a text; raises UsageError for no texts."""
        return np.stack([self._vector(row) for row in self._texts.run(texts)])

    def _vector(self, row: Row) -> np.ndarray:
        found = row.outputs[self.output]
        return np.asarray(found.mean(0) if self.output == "last_hidden_state" else found, np.float32)


class TextClassifier:
    """Texts (or pairs of texts) to labels with probabilities."""

    def __init__(self, session: Session, task: dict[str, Any], folder: Path) -> None:
        self._texts = TextEntries(session, folder, entries_of(task, "input_ids"), section(task, "text"))
        self.labels: list[str] = task["labels"]
        self._activation: str = task["activation"]

    def classify(self, texts: Sequence[Text], top_k: int = 0) -> list[list[Answer]]:
        """Labels of each text with their probabilities, best first; `top_k` 0 is all of them."""
        rows = self._texts.run(texts)
        return [ranked(scores(row.outputs["logits"], self._activation), self.labels, top_k) for row in rows]


class TokenClassifier:
    """Texts to labelled tokens (names, parts of speech)."""

    def __init__(self, session: Session, task: dict[str, Any], folder: Path) -> None:
        self._texts = TextEntries(session, folder, entries_of(task, "input_ids"), section(task, "text"))
        self.labels: list[str] = task["labels"]
        self._activation: str = task["activation"]

    def classify(self, texts: Sequence[str], top_k: int = 1) -> list[list[dict[str, Any]]]:
        """Of each text its tokens: `text`, `start`, `end` (characters) and `labels`, best first."""
        rows = self._texts.run(texts)
        return [self._tokens(text, row, top_k) for text, row in zip(texts, rows, strict=True)]

    def _tokens(self, text: str, row: Row, top_k: int) -> list[dict[str, Any]]:
        values = scores(row.outputs["logits"], self._activation)
        tokens = zip(row.tokens.offsets, row.tokens.special, values, strict=True)
        return [
            {"text": text[start:end], "start": start, "end": end, "labels": ranked(value, self.labels, top_k)}
            for (start, end), special, value in tokens
            if not special
        ]
