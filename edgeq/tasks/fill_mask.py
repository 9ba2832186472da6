"""Masked language models: which words may stand where a text has its mask token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import ArtifactError, UsageError
from edgeq.runtime.tokens import Tokenizer
from edgeq.tasks.entry import Session
from edgeq.tasks.models import entries_of, section
from edgeq.tasks.scores import ranked, softmax
from edgeq.tasks.text import Row, TextEntries


class MaskFiller:
    """Words for the masks of a text.

    Attributes:
        mask_token: as it is written in a text, `[MASK]` or `<mask>`.
    """

    def __init__(self, session: Session, task: dict[str, Any], folder: Path) -> None:
        self._texts = TextEntries(session, folder, entries_of(task, "input_ids"), section(task, "text"))
        self._tokenizer = Tokenizer(folder)
        self.mask_token = self._tokenizer.special_tokens.get("mask_token", "")
        if not self.mask_token:
            raise ArtifactError(f"{folder}: its tokenizer names no mask token, so there is nothing to fill")

    def fill(self, texts: Sequence[str], top_k: int = 5) -> list[list[dict[str, Any]]]:
        """Of each text its masks in order: `start`, `end` (characters) and `labels`, the likeliest words.

        Raises:
            UsageError: a text without a mask token, or none left after it was cut to the longest bucket.
        """
        rows = self._texts.run(texts)
        return [self._masks(text, row, top_k) for text, row in zip(texts, rows, strict=True)]

    def _masks(self, text: str, row: Row, top_k: int) -> list[dict[str, Any]]:
        places = [i for i, (start, end) in enumerate(row.tokens.offsets) if text[start:end].strip() == self.mask_token]
        if not places:
            raise UsageError(f"no {self.mask_token} in {text!r}: put it where a word is to be found")
        return [self._one(row.tokens.offsets[i], row.outputs["logits"][i], top_k) for i in places]

    def _one(self, place: tuple[int, int], logits: np.ndarray, top_k: int) -> dict[str, Any]:
        values = softmax(logits)
        best = np.argsort(-values, kind="stable")[:top_k]
        words = [self._tokenizer.decode([int(i)], skip_special=False).strip() for i in best]
        return {"start": place[0], "end": place[1], "labels": ranked(values[best], words)}
