"""Boxes are those of transformers' post-processing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fakes import FakeSession
from transformers import DetrImageProcessorPil, RTDetrImageProcessorPil
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from edgeq.tasks.models import open_model
from edgeq.tasks.preprocessing import CONFIG, checked_steps, fitted, processor_of

QUERIES = 24
PHOTO = np.random.default_rng(0).integers(0, 256, (31, 57, 3), np.uint8)
SETTINGS = {"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 40, "longest_edge": 100}}
CONFIGS = {CONFIG: json.dumps(SETTINGS).encode()}


def outputs(classes: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    boxes = rng.uniform(0.1, 0.9, (1, QUERIES, 4)).astype(np.float32)
    return {"logits": rng.normal(0, 3, (1, QUERIES, classes)).astype(np.float32), "pred_boxes": boxes}


def detector(raw: dict[str, np.ndarray], labels: list[str], activation: str, masked: bool = False):
    inputs = {"pixel_values": (1, 3, 40, 48)} | ({"pixel_mask": (1, 40, 48)} if masked else {})
    shapes = {name: value.shape for name, value in raw.items()}
    steps, note = fitted(checked_steps(processor_of(CONFIGS)), (40, 48), masked)
    task = {
        "kind": "detection",
        "entries": [{"name": "image", "inputs": inputs, "outputs": shapes}],
        "image": {"channels": 3, "height": 40, "width": 48, "steps": steps.to_json(), "note": note},
        "labels": labels,
        "activation": activation,
    }
    session = FakeSession(image=lambda held: raw)
    return open_model(session, task, None), session


def expected(processor, raw, threshold: float) -> list[tuple[int, float, list[float]]]:
    tensors = DetrObjectDetectionOutput(**{name: torch.tensor(value) for name, value in raw.items()})
    (found,) = processor.post_process_object_detection(tensors, threshold, target_sizes=[PHOTO.shape[:2]])
    rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True)
    return sorted(rows, key=lambda row: -row[1])


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_softmax_drops_no_object_as_detr(threshold):
    raw = outputs(6)
    model, _ = detector(raw, [f"L{i}" for i in range(5)], "softmax")
    same(model.detect(PHOTO, threshold), expected(DetrImageProcessorPil(), raw, threshold))


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.99])
def test_sigmoid_scores_every_class_as_rt_detr(threshold):
    raw = outputs(5)
    model, _ = detector(raw, [f"L{i}" for i in range(5)], "sigmoid")
    same(model.detect(PHOTO, threshold), expected(RTDetrImageProcessorPil(), raw, threshold))


def same(found, theirs) -> None:
    assert len(found) == len(theirs)
    for item, (label, score, box) in zip(found, theirs, strict=True):
        assert item["label"] == f"L{label}"
        assert abs(item["score"] - score) < 1e-6
        assert np.allclose(item["box"], box, atol=1e-4)


def test_the_mask_says_where_the_photo_is():
    model, session = detector(outputs(6), ["a"] * 5, "softmax", masked=True)
    model.detect(PHOTO)
    mask = session.runs[0][1]["pixel_mask"]
    assert mask.shape == (1, 40, 48)
    assert mask.sum() == 26 * 48  # 31x57 fits 40x48 as 26x48
    assert session.runs[0][1]["pixel_values"].shape == (1, 3, 40, 48)


def test_nothing_found_and_the_few_best():
    raw = outputs(6)
    model, _ = detector(raw, ["a"] * 5, "softmax")
    assert model.detect(PHOTO, 1.0) == []
    assert model.detect(PHOTO, 0.0, top_k=2) == model.detect(PHOTO, 0.0)[:2]
