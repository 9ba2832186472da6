"""SAM: image features once, then prompts and masks."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn
from zoo_recipe import Recipe, Run, random, run
from zoo_vision import preprocessor

IMAGE = 64
VISION: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_pos_feats": 8, "num_attention_heads": 4, "image_size": IMAGE,
    "patch_size": 8, "window_size": 3, "global_attn_indexes": [1], "output_channels": 16, "mlp_ratio": 2.0,
}  # fmt: skip
PROMPT = {"hidden_size": 16, "image_size": IMAGE, "patch_size": 8, "mask_input_channels": 4}
MASK = {"hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "iou_head_hidden_dim": 16}


def sam() -> Any:
    return transformers.SamConfig(vision_config=VISION, prompt_encoder_config=PROMPT, mask_decoder_config=MASK)


def sam_runs(eager: nn.Module, batch: int) -> list[Run]:
    """One image, then one point, then another: features are kept, prompts change."""
    pixels = {"pixel_values": random(batch, 3, IMAGE, IMAGE)}
    features = eager.vision_encoder(**pixels).last_hidden_state
    first = run("image", pixels, {"image_embeddings": features, "last_hidden_state": features})
    return [first, *prompted(eager, features, (10.0, 20.0), 1), *prompted(eager, features, (50.5, 33.0), 0)]


def prompted(eager: nn.Module, features: torch.Tensor, point: tuple[float, float], label: int) -> list[Run]:
    """`prompt` with one point (1: of the object, 0: of the background), then `mask`."""
    points, labels = torch.tensor([[[point]]]), torch.tensor([[[label]]])
    sparse, dense = eager.prompt_encoder(points, labels, None, None)
    answer = eager(image_embeddings=features, input_points=points, input_labels=labels, multimask_output=True)
    inputs = {"input_points": points, "input_labels": labels}
    return [run("prompt", inputs, {"sparse_embeddings": sparse, "dense_embeddings": dense}), run("mask", {}, answer)]


RECIPES = {
    "sam": Recipe(
        sam, "SamModel", sam_runs, ("pred_masks", "iou_scores"), batches=(1,),
        files=preprocessor("SamImageProcessor", IMAGE, IMAGE),
    ),
}  # fmt: skip
