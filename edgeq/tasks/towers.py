"""Two towers (CLIP, SigLIP): texts and photos in one space; which of the texts a photo shows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import ArtifactError
from edgeq.tasks.embeddings import normalized, similarity
from edgeq.tasks.entry import Session
from edgeq.tasks.image_models import ImageEntries, photo_list
from edgeq.tasks.models import entries_of, section
from edgeq.tasks.photo import Photo
from edgeq.tasks.scores import Answer, ranked, scores
from edgeq.tasks.text import TextEntries


class TwoTowers:
    """Vectors of texts and of photos, and zero-shot labels."""

    def __init__(self, session: Session, task: dict[str, Any], folder: Path) -> None:
        self._session, self._task, self._folder = session, task, folder
        self._images = ImageEntries(session, task)

    @cached_property
    def _texts(self) -> TextEntries:
        """Made when a text is to be read: photos alone need no tokenizer."""
        entries = entries_of(self._task, "input_ids")
        return TextEntries(self._session, self._folder, entries, section(self._task, "text"))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Texts as f32[n, D], rows of length one."""
        return normalized(np.stack([row.outputs["text_embeds"] for row in self._texts.run(texts)]))

    def embed_images(self, photos: Sequence[Photo] | Photo) -> np.ndarray:
        """Photos as f32[n, D], rows of length one."""
        prepared = [self._images.prepare(photo) for photo in photo_list(photos)]
        return normalized(np.stack([row["image_embeds"] for row in self._images.run(prepared)]))

    def classify(self, photos: Sequence[Photo] | Photo, texts: Sequence[str], top_k: int = 0) -> list[list[Answer]]:
        """Of each photo the texts with their probabilities, best first.

        Softmax over the texts (CLIP), or each text by itself (SigLIP). Raises ArtifactError without a logit scale.
        """
        values = scores(self.logits(self.embed_images(photos), self.embed(texts)), self._task["activation"])
        return [ranked(row, list(texts), top_k) for row in values]

    def logits(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """f32[n images, m texts]: cosines times exp(logit_scale) plus logit_bias."""
        scale = self._task.get("logit_scale")
        if scale is None:
            raise ArtifactError(
                "the artifact has no logit_scale, so cosines cannot become probabilities: use embeddings"
            )
        return np.asarray(similarity(images, texts) * np.exp(scale) + (self._task.get("logit_bias") or 0.0), np.float32)
