"""Promptable segmentation (SAM): a photo is looked at once, then every set of points gives a mask at little cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import UsageError
from edgeq.tasks.entry import EntryFacts, Session
from edgeq.tasks.image import Prepared
from edgeq.tasks.image_models import ImageEntries
from edgeq.tasks.interpolation import bilinear
from edgeq.tasks.models import entries_of
from edgeq.tasks.photo import Photo

NO_POINT = -10  # SamProcessor's point_pad_value: its embedding is zero


@dataclass(frozen=True)
class Point:
    """A place in the photo, in pixels from the left and from the top; `inside` the object, or outside of it."""

    x: float
    y: float
    inside: bool = True


Points = Sequence[Point | tuple[float, float] | tuple[float, float, int]]


@dataclass(frozen=True)
class Mask:
    """What a set of points means.

    Attributes:
        pixels: bool[H, W] in the photo's size, the best candidate. score: its predicted overlap (IoU).
        scores: f32[n] of every candidate. logits: f32[n, h, w] of every candidate, as the model gives them.
    """

    pixels: np.ndarray
    score: float
    scores: np.ndarray
    logits: np.ndarray


class Segmenter:
    """`look` at a photo, then ask for masks; `segment` does both and looks only at photos it has not just seen.

    Attributes:
        look_seconds, mask_seconds: how long the image entry, and prompt and mask entries took when they last ran.
    """

    def __init__(self, session: Session, task: dict[str, Any], _folder: Path) -> None:
        self._session, self._images = session, ImageEntries(session, task)
        self._prompt, self._mask = (_single(entries_of(task, name)) for name in ("input_points", "sparse_embeddings"))
        self._shape = self._prompt.inputs["input_points"]
        self._seen: Prepared | None = None
        self._photo: Photo = None  # held, so that its identity stays its own
        self._key: object = None
        self.look_seconds = self.mask_seconds = 0.0

    def segment(self, photo: Photo, points: Points) -> Mask:
        """The mask at `points` of a photo.

        Raises:
            UsageError: an unreadable photo, no points, more than were compiled for, or one outside of the photo.
        """
        if self._seen is None or self._key != _key(photo):
            self.look(photo)
        return self.mask(points)

    def look(self, photo: Photo) -> None:
        """Compute the photo's features, which masks then share."""
        self._seen = None
        prepared = self._images.prepare(photo)
        begin = time.perf_counter()
        self._images.run([prepared])
        self.look_seconds = time.perf_counter() - begin
        self._seen, self._photo, self._key = prepared, photo, _key(photo)

    def mask(self, points: Points) -> Mask:
        """The mask at `points` of the photo last looked at; raises as `segment`."""
        if self._seen is None:
            raise UsageError("no photo: look at one first")
        inputs = self._inputs([p if isinstance(p, Point) else _point(p) for p in points], self._seen)
        begin = time.perf_counter()
        self._session.run(self._prompt.name, **inputs)
        found = self._session.run(self._mask.name)
        self.mask_seconds = time.perf_counter() - begin
        logits, scores = found["pred_masks"][0, 0], found["iou_scores"][0, 0]
        best = int(scores.argmax())
        return Mask(full_size(logits[best], self._seen) > 0, float(scores[best]), scores, logits)

    def _inputs(self, points: list[Point], photo: Prepared) -> dict[str, Any]:
        """Points in the pixels of the resized photo, as SamProcessor scales them; unused places hold no point."""
        _check(points, photo, self._shape[-2])
        places = np.zeros(self._shape, np.float32)
        labels = np.full(self._shape[:-1], NO_POINT, np.int32)
        scale = np.array([photo.resized[1] / photo.original[1], photo.resized[0] / photo.original[0]])
        for i, point in enumerate(points):
            places[0, 0, i] = np.array([point.x, point.y]) * scale
            labels[0, 0, i] = int(point.inside)
        return {"input_points": places, "input_labels": labels}


def full_size(logits: np.ndarray, photo: Prepared) -> np.ndarray:
    """A low-resolution mask's logits f32[h, w] in the photo's size: enlarged, padding cut off, resized."""
    square = bilinear(logits, *photo.pixels.shape[1:])
    return bilinear(square[: photo.resized[0], : photo.resized[1]], *photo.original)


def _key(photo: Photo) -> object:
    """Equal for a file that has not changed, else for the very same object."""
    if not isinstance(photo, str | Path):
        return id(photo)
    path = Path(photo)
    stat = path.stat() if path.exists() else None
    return (path.resolve(), stat and (stat.st_mtime_ns, stat.st_size))


def _check(points: list[Point], photo: Prepared, most: int) -> None:
    if not points:
        raise UsageError("give at least one point (x, y), in pixels of the photo")
    if len(points) > most:
        raise UsageError(
            f"{len(points)} points, but the artifact was compiled for at most {most} a mask: edgeq compile --points"
        )
    height, width = photo.original
    for point in points:
        if not (0 <= point.x < width and 0 <= point.y < height):
            raise UsageError(f"point {point.x:g},{point.y:g} lies outside of the photo ({width}x{height} pixels)")


def _point(values: tuple[float, ...]) -> Point:
    return Point(float(values[0]), float(values[1]), bool(values[2]) if len(values) > 2 else True)


def _single(entries: list[EntryFacts]) -> EntryFacts:
    return min(entries, key=lambda entry: entry.batch)
