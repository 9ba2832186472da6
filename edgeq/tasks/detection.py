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
        single = self._activation == "softmax"
        found = detections(values, row["pred_boxes"], prepared.original, self.labels, threshold, single)
        return found[: top_k or None]


def detections(
    values: np.ndarray, boxes: np.ndarray, size: Size, labels: list[str], threshold: float, single: bool
) -> list[Detection]:
    """Boxes of one photo, best first.

    values: f32[queries, classes]. boxes: f32[queries, 4], centre, width and height as fractions. size: (height, width).
    single: each query answers with its best class (DETR); else the best of all classes of all queries, as many as there
    are queries (RT-DETR).
    """
    corners = corners_of(boxes) * np.array([size[1], size[0], size[1], size[0]], np.float32)
    kept = np.where(values == values.max(1, keepdims=True), values, 0) if single else values
    order = np.argsort(-kept, axis=None, kind="stable")[: len(values)]
    pairs = [divmod(int(at), values.shape[1]) for at in order]
    return [
        {"label": labels[label], "score": float(kept[query, label]), "box": corners[query].tolist()}
        for query, label in pairs
        if kept[query, label] > threshold
    ]


def corners_of(boxes: np.ndarray) -> np.ndarray:
    """(x, y of the centre, width, height) -> (left, top, right, bottom), f32[n, 4] both."""
    x, y, width, height = boxes.T
    return np.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1).astype(np.float32)
