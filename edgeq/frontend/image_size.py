"""The size and channels of the images that a model takes, from its config and its preprocessor's settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

DEFAULT = (224, 224)  # of models of any size whose files say nothing
PARTS = ("vision_config", "backbone_config")


def image_size(config: Any, files: dict[str, bytes], wanted: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width in pixels, fixed at compile time.

    First found of: what the user wants; the preprocessor's crop; the config's image_size; the preprocessor's size, of
    which `shortest_edge` stands for a square (models that take any size, such as DETR, see images resized to it).
    """
    settings = preprocessor(files)
    crop = settings.get("crop_size") if settings.get("do_center_crop", True) else None
    trained = next(_values(config, "image_size"), None)
    found = (_pair(x) for x in (wanted, crop, trained, settings.get("size")))
    return next((pair for pair in found if pair is not None), DEFAULT)


def channels(config: Any) -> int:
    """Channels of an image."""
    return int(next(_values(config, "num_channels"), 3))


def preprocessor(files: dict[str, bytes]) -> dict[str, Any]:
    """The image preprocessor's settings; {} without any."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        if name in files:
            found = json.loads(files[name])
            return found.get("image_processor", found)
    return {}


def _values(config: Any, name: str) -> Iterator[Any]:
    """The setting of the config, then of its image parts."""
    for part in (config, *(getattr(config, part, None) for part in PARTS)):
        found = getattr(part, name, None)
        if found is not None:
            yield found


def _pair(size: Any) -> tuple[int, int] | None:
    """224, [224, 336], {"height", "width"}, {"shortest_edge"} or {"longest_edge"} as (height, width)."""
    if isinstance(size, dict):
        if "height" in size:
            return int(size["height"]), int(size["width"])
        edge = size.get("shortest_edge") or size.get("longest_edge")
        return (int(edge), int(edge)) if edge else None
    if isinstance(size, (list, tuple)):
        return int(size[0]), int(size[-1])
    return (int(size), int(size)) if size else None
