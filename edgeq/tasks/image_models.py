"""Models that see one picture: labels, and vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import ArtifactError, UsageError
from edgeq.tasks.entry import Session
from edgeq.tasks.image import Prepared, Steps, prepare
from edgeq.tasks.models import entries_of, section
from edgeq.tasks.photo import Photo
from edgeq.tasks.scores import Answer, ranked, scores


class ImageEntries:
    """The entries of an image tower, one a batch size."""

    def __init__(self, session: Session, task: dict[str, Any]) -> None:
        self._session, self._task = session, task
        self._entries = sorted(entries_of(task, "pixel_values"), key=lambda e: e.batch)

    def prepare(self, photo: Photo) -> Prepared:
        """A photo as the model was compiled to see it; raises UsageError for what cannot be read or prepared."""
        spec = section(self._task, "image")
        found = prepare(photo, Steps.from_json(spec["steps"]), spec["channels"])
        wanted = spec["channels"], spec["height"], spec["width"]
        if found.pixels.shape != wanted:
            raise ArtifactError(
                f"photos become {list(found.pixels.shape)}, the model takes {list(wanted)}: compile it again"
            )
        return found

    def run(self, photos: Sequence[Prepared]) -> list[dict[str, np.ndarray]]:
        """The outputs of each photo, without the batch axis."""
        found: list[dict[str, np.ndarray]] = []
        while len(found) < len(photos):
            left = photos[len(found) :]
            entry = next((e for e in reversed(self._entries) if e.batch <= len(left)), self._entries[0])
            chosen = list(left[: entry.batch])
            filled = chosen + [chosen[-1]] * (entry.batch - len(chosen))
            inputs: dict[str, Any] = {"pixel_values": np.stack([photo.pixels for photo in filled])}
            if "pixel_mask" in entry.inputs:
                inputs["pixel_mask"] = np.stack([photo.mask for photo in filled])
            outputs = self._session.run(entry.name, **inputs)
            found += [{name: value[i] for name, value in outputs.items()} for i in range(len(chosen))]
        return found


def photo_list(photos: Sequence[Photo] | Photo) -> list[Photo]:
    """One photo or several as a list; raises UsageError for none."""
    listed = list(photos) if isinstance(photos, list | tuple) else [photos]
    if not listed:
        raise UsageError("give at least one image")
    return listed


class ImageClassifier:
    """Photos to labels with probabilities."""

    def __init__(self, session: Session, task: dict[str, Any], _folder: Path) -> None:
        self._images = ImageEntries(session, task)
        self.labels: list[str] = task["labels"]
        self._activation: str = task["activation"]

    def classify(self, photos: Sequence[Photo] | Photo, top_k: int = 0) -> list[list[Answer]]:
        """Labels of each photo with their probabilities, best first; `top_k` 0 is all of them."""
        rows = self._images.run([self._images.prepare(photo) for photo in photo_list(photos)])
        return [ranked(scores(row["logits"], self._activation), self.labels, top_k) for row in rows]


class ImageEmbedder:
    """Photos to vectors: the pooled output, where the model has one."""

    def __init__(self, session: Session, task: dict[str, Any], _folder: Path) -> None:
        self._images = ImageEntries(session, task)
        self.output: str = task["image"]["output"]

    @property
    def pooling(self) -> str:
        """Where a photo's vector comes from: an output's name, or how vectors of patches are pooled."""
        return self.output if self.output in ("image_embeds", "pooler_output") else f"mean of {self.output}"

    def embed(self, photos: Sequence[Photo] | Photo) -> np.ndarray:
        """f32[n, D], a row a photo."""
        rows = self._images.run([self._images.prepare(photo) for photo in photo_list(photos)])
        return np.stack([_vector(row[self.output]) for row in rows])


def _vector(found: np.ndarray) -> np.ndarray:
    """Patches [P, D] are averaged, and so are maps [C, H, W] (those of a pooled output have one place)."""
    if found.ndim == 3:
        return np.asarray(found.mean((1, 2)), np.float32)
    return np.asarray(found.mean(0) if found.ndim == 2 else found, np.float32)
