"""The size of images: what the user wants, the crop, the model's own size, what the preprocessor resizes to."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from edgeq.frontend.image_size import channels, image_size


def files(**settings: Any) -> dict[str, bytes]:
    return {"preprocessor_config.json": json.dumps(settings).encode()}


@pytest.mark.parametrize(
    ("config", "settings", "size"),
    [
        ({"image_size": 384}, {"size": {"height": 224, "width": 224}}, (384, 384)),
        ({"image_size": [64, 96]}, {}, (64, 96)),
        ({"image_size": 518}, {"crop_size": {"height": 224, "width": 192}, "size": 256}, (224, 192)),
        ({"image_size": 518}, {"crop_size": 224, "do_center_crop": False}, (518, 518)),
        ({}, {"size": {"shortest_edge": 800, "longest_edge": 1333}}, (800, 800)),
        ({}, {"size": {"longest_edge": 1024}}, (1024, 1024)),
        ({}, {"image_processor": {"size": 100}}, (100, 100)),
        ({}, {}, (224, 224)),
        ({"vision_config": SimpleNamespace(image_size=30)}, {}, (30, 30)),
    ],
)
def test_the_first_that_is_said_counts(config: dict, settings: dict, size: tuple[int, int]) -> None:
    assert image_size(SimpleNamespace(**config), files(**settings), None) == size


def test_what_the_user_wants_comes_first() -> None:
    assert image_size(SimpleNamespace(image_size=9), files(crop_size=8), (40, 50)) == (40, 50)


def test_channels_of_the_image_part() -> None:
    assert channels(SimpleNamespace(backbone_config=SimpleNamespace(num_channels=1))) == 1
    assert channels(SimpleNamespace()) == 3
