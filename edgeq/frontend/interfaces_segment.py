"""Promptable segmentation (SAM): the image once, then prompts and masks as often as one likes.

`image`: pixel_values -> image_embeddings. `prompt`: input_points `[B,1,P,2]` (x, y in pixels of the model's image),
input_labels `[B,1,P]` (1 in, 0 out, -1 no point) -> sparse_embeddings, dense_embeddings. `mask`: all three ->
pred_masks `[B,1,3,h,w]` (logits), iou_scores `[B,1,3]`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgeq.frontend.image_size import image_size
from edgeq.frontend.interfaces import Interface, Outputs, Shapes, Spec, pixel_inputs


def segmentation(model: nn.Module, config: Any, files: dict[str, bytes], shapes: Shapes) -> list[Interface]:
    """`image`, `prompt` and `mask` for every batch."""
    pixels = pixel_inputs(config, image_size(config, {}, shapes.image_size))
    found = []
    for batch in shapes.batch:
        points = {
            "input_points": ((batch, 1, shapes.points, 2), torch.float32),
            "input_labels": ((batch, 1, shapes.points), torch.long),
        }
        found += [
            Interface("image", pixels(batch), _image, batch),
            Interface("prompt", points, _prompt, batch),
            Interface("mask", _mask_inputs(config, batch, shapes.points), _mask, batch),
        ]
    return found


def _mask_inputs(config: Any, batch: int, points: int) -> dict[str, Spec]:
    """What `image` and `prompt` give: a prompt of points holds one row more, the end of the points."""
    prompt = config.prompt_encoder_config
    width, side = prompt.hidden_size, prompt.image_embedding_size
    grid: Spec = ((batch, width, side, side), torch.float32)
    sparse: Spec = ((batch, 1, points + 1, width), torch.float32)
    return {"image_embeddings": grid, "sparse_embeddings": sparse, "dense_embeddings": grid}


def _image(model: Any, given: dict[str, Tensor]) -> Outputs:
    return {"image_embeddings": model.get_image_embeddings(given["pixel_values"])}


def _prompt(model: Any, given: dict[str, Tensor]) -> Outputs:
    sparse, dense = model.get_prompt_embeddings(given["input_points"], given["input_labels"])
    return {"sparse_embeddings": sparse, "dense_embeddings": dense}


def _mask(model: Any, given: dict[str, Tensor]) -> Outputs:
    image = given["image_embeddings"]
    positions = model.get_image_wide_positional_embeddings().repeat(image.shape[0], 1, 1, 1)
    masks, scores = model.mask_decoder(
        image_embeddings=image,
        image_positional_embeddings=positions,
        sparse_prompt_embeddings=given["sparse_embeddings"],
        dense_prompt_embeddings=given["dense_embeddings"],
        multimask_output=True,
    )[:2]
    return {"pred_masks": masks, "iou_scores": scores}
