"""A compiled model on disk and, once used, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq.artifact.manifest import read
from edgeq.errors import UsageError
from edgeq.runtime.generate import Generation, generate
from edgeq.runtime.loader import Session
from edgeq.runtime.tokens import Tokenizer

if TYPE_CHECKING:
    from edgeq.tasks.segmentation import Mask

VERBS = ("embed", "embed_images", "classify", "fill", "detect", "segment", "generate", "transcribe")


class Artifact:
    """An artifact folder. Reading its manifest costs nothing; the model is mapped on first use.

    Which methods do something depends on what the model is for (`kind`); another one raises UsageError and says what
    there is. docs/tasks.md shows each of them.
    """

    def __init__(self, path: Path, threads: int = 0, variant: str | None = None) -> None:
        self.path, self._threads, self._variant = path, threads, variant

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """edgeq.json, checked against its own hash."""
        return read(self.path).to_json()

    @property
    def task(self) -> dict[str, Any]:
        """What the model is for and what its run time needs (`edgeq.tasks.describe`)."""
        found: dict[str, Any] = self.manifest.get("task") or {"kind": "chat"}
        return found

    @property
    def kind(self) -> str:
        """What the model is for: `chat`, `embedding`, `image-classification`, ...; see docs/tasks.md."""
        return str(self.task["kind"])

    @cached_property
    def session(self) -> Session:
        """The model in this process, position 0 at first."""
        return Session(self.path, self._threads, self._variant)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Tokenizer and chat template."""
        return Tokenizer(self.path)

    @cached_property
    def model(self) -> Any:
        """The object that does this kind of task (`edgeq.tasks`), over `session`; not for language models."""
        from edgeq.tasks.models import open_model

        return open_model(self.session, self.task, self.path)

    def generate(self, prompt: str | Sequence[dict[str, str]], **options: Any) -> Generation:
        """Stream text: iterate over the result for pieces; `.stats` and `.reason` are set at the end.

        A language model continues or answers `prompt`; an encoder-decoder makes another text of it.
        """
        if self.kind == "chat":
            return generate(self.session, self.tokenizer, prompt, **options)
        found: Generation = self._can("generate").generate(prompt, **options)
        return found

    def embed(self, items: Sequence[Any]) -> np.ndarray:
        """f32[n, D]: vectors of texts, or of photos for a model that sees; two towers: of texts."""
        return np.asarray(self._can("embed").embed(items))

    def embed_images(self, photos: Sequence[Any]) -> np.ndarray:
        """f32[n, D]: two towers' vectors of photos, in one space with those of texts."""
        return np.asarray(self._can("embed_images").embed_images(photos))

    def classify(self, items: Sequence[Any], *texts: Sequence[str], top_k: int = 0) -> list[list[dict[str, Any]]]:
        """Of each text or photo its labels, best first: `{"label", "score"}`; two towers: `classify(photos, texts)`."""
        found: list[list[dict[str, Any]]] = self._can("classify").classify(items, *texts, top_k=top_k)
        return found

    def fill(self, texts: Sequence[str], top_k: int = 5) -> list[list[dict[str, Any]]]:
        """Of each text its mask tokens with the likeliest words: `{"start", "end", "labels"}`."""
        found: list[list[dict[str, Any]]] = self._can("fill").fill(texts, top_k)
        return found

    def detect(self, photo: Any, threshold: float = 0.5) -> list[dict[str, Any]]:
        """What a photo shows, best first: `{"label", "score", "box"}`, box x0, y0, x1, y1 in pixels."""
        found: list[dict[str, Any]] = self._can("detect").detect(photo, threshold)
        return found

    def segment(self, photo: Any, points: Sequence[Any]) -> Mask:
        """The mask at points (x, y) or (x, y, 0 for background) in pixels; a photo's features are computed once."""
        found: Mask = self._can("segment").segment(photo, points)
        return found

    def transcribe(self, sound: Any, **options: Any) -> Iterator[Generation]:
        """What is said in a WAV file or in samples, one stream of text for each window of the model's length."""
        found: Iterator[Generation] = self._can("transcribe").transcribe(sound, **options)
        return found

    def run(self, entry: str | Sequence[int], **inputs: Any) -> Any:
        """Run a static entry: its outputs by name; tensors not given keep what they hold.

        For language models `run(tokens)`: logits f32[vocab] after `tokens`, from position 0.
        """
        if isinstance(entry, str):
            return self.session.run(entry, **inputs)
        self.session.rewind(0)
        self.session.feed(entry)
        return self.session.last_logits()

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """Logits f32[T, vocab] after each of `tokens`, from position 0."""
        self.session.rewind(0)
        return self.session.logits(tokens)

    def close(self) -> None:
        """Free the model; the artifact can be used again, which maps it anew."""
        self.__dict__.pop("model", None)
        if "session" in self.__dict__:
            self.session.close()
            del self.session

    def _can(self, verb: str) -> Any:
        if self.kind == "chat":
            raise UsageError(f"{self.path} is a language model, which cannot {verb}: use generate")
        if not hasattr(self.model, verb):
            able = ", ".join(name for name in VERBS if hasattr(self.model, name))
            raise UsageError(f"{self.path} is for {self.kind}, which cannot {verb}: use {able}")
        return self.model
