"""CLIP and SigLIP: a text tower and an image tower in one artifact."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from zoo_recipe import Recipe, Run, config, entry_name, random, run
from zoo_vision import preprocessor

LENGTHS, IMAGE, END = (9, 16), 40, 99
TEXT: dict[str, Any] = {
    "vocab_size": 100, "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 16, "bos_token_id": 98, "eos_token_id": END, "pad_token_id": 1,
}  # fmt: skip
VISION: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": IMAGE,
    "patch_size": 8,
}  # fmt: skip


def ended(batch: int, length: int) -> dict[str, torch.Tensor]:
    """i64 ids, each row ended (CLIP pools there) and padded at a place of its own."""
    noise = torch.Generator().manual_seed(length)
    ids = torch.randint(3, 90, (batch, length), generator=noise)
    last = torch.randint(length // 2, length, (batch, 1), generator=noise)
    where = torch.arange(length)[None]
    ids = torch.where(where < last, ids, torch.where(where == last, END, 1))
    return {"input_ids": ids, "attention_mask": (where <= last).long()}


def towers(masked: bool) -> Any:
    """masked: whether padding is hidden (SigLIP reads its padding and pools there)."""

    def runs(eager: nn.Module, batch: int) -> list[Run]:
        found = []
        for length in LENGTHS:
            inputs = ended(batch, length)
            if not masked:
                inputs["attention_mask"] = torch.ones_like(inputs["attention_mask"])
            found.append(run(entry_name("text", length, batch), inputs, outputs(eager, "text", inputs)))
        inputs = {"pixel_values": random(batch, 3, IMAGE, IMAGE)}
        return [*found, run(entry_name("image", batch=batch), inputs, outputs(eager, "image", inputs))]

    return runs


def outputs(eager: nn.Module, which: str, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`text_embeds` or `image_embeds` as the whole model gives them (of length 1), and what the tower gives."""
    tower = eager.text_model if which == "text" else eager.vision_model
    found = dict(tower(**inputs))
    projected = found["pooler_output"]
    if hasattr(eager, "text_projection"):
        projected = (eager.text_projection if which == "text" else eager.visual_projection)(projected)
    found[f"{which}_embeds"] = nn.functional.normalize(projected, dim=-1)
    return found


MAIN = ("text_embeds", "image_embeds")
RECIPES = {
    "clip": Recipe(
        config("CLIPConfig", text_config=TEXT, vision_config=VISION, projection_dim=24), "CLIPModel", towers(True),
        MAIN, LENGTHS, files=preprocessor("CLIPImageProcessor", IMAGE, IMAGE),
    ),
    "siglip": Recipe(
        config("SiglipConfig", text_config={**TEXT, "projection_size": 32}, vision_config=VISION), "SiglipModel",
        towers(False), MAIN, LENGTHS, files=preprocessor("SiglipImageProcessor", IMAGE, IMAGE),
    ),
}  # fmt: skip
