"""A compiled model on disk and, once used, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.artifact.manifest import read
from edgeq.runtime.generate import Generation, generate
from edgeq.runtime.loader import Session
from edgeq.runtime.tokens import Tokenizer


class Artifact:
    """An artifact folder. Reading its manifest costs nothing; the model is mapped on first use."""

    def __init__(self, path: Path, threads: int = 0, variant: str | None = None) -> None:
        self.path, self._threads, self._variant = path, threads, variant

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """edgeq.json, checked against its own hash."""
        return read(self.path).to_json()

    @cached_property
    def session(self) -> Session:
        """The model in this process, position 0 at first."""
        return Session(self.path, self._threads, self._variant)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer and chat template."""
        return Tokenizer(self.path)

    def generate(self, prompt: str | Sequence[dict[str, str]], **options: Any) -> Generation:
        """Stream text: iterate over the result for pieces; `.stats` and `.reason` are set at the end."""
        return generate(self.session, self.tokenizer, prompt, **options)

    def run(self, tokens: Sequence[int]) -> np.ndarray:
        """Logits f32[vocab] after `tokens`, from position 0."""
        self.session.rewind(0)
        self.session.feed(tokens)
        return self.session.last_logits()

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Logits f32[T, vocab] after each of `tokens`, from position 0."""
        self.session.rewind(0)
        return self.session.logits(tokens)

    def close(self) -> None:
        """Free the model; the artifact can be used again, which maps it anew."""
        if "session" in self.__dict__:
            self.session.close()
            del self.session
