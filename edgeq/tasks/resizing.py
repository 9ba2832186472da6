"""How large a photo becomes: the resizing rules of transformers' image processors, as plain dictionaries.

| rule | becomes |
|---|---|
| `exact` height, width | that |
| `shortest` edge | the shorter edge becomes `edge`, the other in proportion (rounded down) |
| `bounded` shortest, longest | the shorter edge becomes `shortest` unless the longer would pass `longest` (DETR) |
| `longest` edge | the longer edge becomes `edge`, the other in proportion (rounded to nearest; SAM) |
| `box` height, width | the largest of the same proportions that fits |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rule = dict[str, Any]
Size = tuple[int, int]


def resized(rule: Rule, size: Size) -> Size:
    """(height, width) after resizing a photo of `size` = (height, width)."""
    return RULES[rule["rule"]](rule, size)


def _exact(rule: Rule, _size: Size) -> Size:
    return rule["height"], rule["width"]


def _shortest(rule: Rule, size: Size) -> Size:
    """transformers.image_transforms.get_resize_output_image_size."""
    height, width = size
    edge, other = rule["edge"], int(rule["edge"] * max(size) / min(size))
    return (other, edge) if width <= height else (edge, other)


def _bounded(rule: Rule, size: Size) -> Size:
    """transformers.image_transforms.get_size_with_aspect_ratio, then into `within` (height, width) if that is given."""
    height, width = size
    exact = float(rule["shortest"])
    if max(size) / min(size) * exact > rule["longest"]:
        exact = rule["longest"] * float(min(size)) / max(size)
    edge = round(exact)
    if (height <= width and height == edge) or (width <= height and width == edge):
        found = size
    elif width < height:
        found = int(exact * height / width), edge
    else:
        found = edge, int(exact * width / height)
    height, width = rule.get("within") or found
    fits = found[0] <= height and found[1] <= width
    return found if fits else _box({"height": height, "width": width}, size)


def _longest(rule: Rule, size: Size) -> Size:
    """SamImageProcessor._get_preprocess_shape."""
    scale = rule["edge"] * 1.0 / max(size)
    return int(size[0] * scale + 0.5), int(size[1] * scale + 0.5)


def _box(rule: Rule, size: Size) -> Size:
    """transformers.image_utils.get_image_size_for_max_height_width."""
    scale = min(rule["height"] / size[0], rule["width"] / size[1])
    return max(int(size[0] * scale), 1), max(int(size[1] * scale), 1)


RULES: dict[str, Callable[[Rule, Size], Size]] = {
    "exact": _exact,
    "shortest": _shortest,
    "bounded": _bounded,
    "longest": _longest,
    "box": _box,
}
