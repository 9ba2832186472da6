"""Two towers (CLIP, SigLIP): text -> `text_embeds`, image -> `image_embeds`, normalised as in the model's forward.

Each entry traces the whole model and keeps one tower: what an output does not need is dropped afterwards.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgeq.frontend.image_size import image_size
from edgeq.frontend.interfaces import (
    Interface,
    Outputs,
    Shapes,
    Spec,
    check_lengths,
    pixel_inputs,
    pixel_options,
    text_inputs,
)


def two_towers(model: nn.Module, config: Any, files: dict[str, bytes], shapes: Shapes) -> list[Interface]:
    """`text_<length>` for every length and batch, and `image` for every batch."""
    size = image_size(config, files, shapes.image_size)
    pixels, options = pixel_inputs(config, size), pixel_options(model, config, size)
    text_config = getattr(config, "text_config", config)
    check_lengths(model, text_config, shapes.lengths)
    of_text, of_image = text_inputs(model, text_config, 1, 2), pixels(1)
    text = _one("text_embeds", of_image, options)
    texts = [
        Interface("text", text_inputs(model, text_config, batch, length), text, batch, length)
        for length in shapes.lengths
        for batch in shapes.batch
    ]
    images = [Interface("image", pixels(b), _one("image_embeds", of_text, options), b) for b in shapes.batch]
    return texts + images


def _one(output: str, other: dict[str, Spec], options: dict[str, Any]) -> Any:
    """The model run on the inputs of one tower and a blank of the other's; the named output alone."""

    def run(model: Any, given: dict[str, Tensor]) -> Outputs:
        blank = {name: torch.ones(shape, dtype=dtype) for name, (shape, dtype) in other.items()}
        return {output: model(**blank, **given, **options)[output]}

    return run
