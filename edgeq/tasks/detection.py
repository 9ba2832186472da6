"""Detection: boxes with labels, in the pixels of the photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeq.tasks.entry import Session
from edgeq.tasks.image import Size
from edgeq.tasks.image_models import ImageEntries
from edgeq.tasks.photo import Photo
from edgeq.tasks.scores import scores

Detection = dict[str, Any]  # {"label": str, "score": float, "box": [x0, y0, x1, y1]}


class Detector:
    """Photos to labelled boxes (DETR and its like)."""

    def __init__(self, session: Session, task: dict[str, Any], _folder: Path) -> None:
        self._images = ImageEntries(session, task)
        self.labels: list[str] = task["labels"]
        self._activation: str = task["activation"]

    def detect(self, photo: Photo, threshold: float = 0.5, top_k: int = 0) -> list[Detection]:
        """`label`, `score`, `box` (x0, y0, x1, y1 in pixels) of what scores above `threshold`, best first."""
        prepared = self._images.prepare(photo)
        (row,) = self._images.run([prepared])
        values = scores(row["logits"], self._activation)[:, : len(self.labels)]  # "no object" is the last class
        found = detections(values, row["pred_boxes"], prepared.original, self.labels, threshold)
        return found[: top_k or None]


def detections(
    values: np.ndarray, boxes: np.ndarray, size: Size, labels: list[str], threshold: float
) -> list[Detection]:
    """Boxes of one photo.

    values: f32[queries, classes]. boxes: f32[queries, 4], centre, width and height as fractions. size: (height, width).
    """
    corners = corners_of(boxes) * np.array([size[1], size[0], size[1], size[0]], np.float32)
    best, score = values.argmax(1), values.max(1)
    order = [i for i in np.argsort(-score, kind="stable") if score[i] > threshold]
    return [{"label": labels[best[i]], "score": float(score[i]), "box": corners[i].tolist()} for i in order]


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """(x, y of the centre, width, height) -> (left, top, right, bottom), f32[n, 4] both."""
    x, y, width, height = boxes.T
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1).astype(np.float32)
