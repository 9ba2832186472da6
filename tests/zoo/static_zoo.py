"""Tiny seeded models of every architecture that is no decoder: folders, example inputs, what eager PyTorch answers."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import zoo_encoder_decoder
import zoo_segmentation
import zoo_text
import zoo_towers
import zoo_vision
from torch import nn
from zoo_recipe import Recipe, Run, entry_name

ZOO: dict[str, Recipe] = {
    **zoo_text.RECIPES,
    **zoo_vision.RECIPES,
    **zoo_towers.RECIPES,
    **zoo_segmentation.RECIPES,
    **zoo_encoder_decoder.RECIPES,
}


def model(name: str) -> nn.Module:
    """The eager model, float32; parameters and batch-norm statistics perturbed (0 and 1 would hide errors)."""
    torch.manual_seed(0)
    recipe = ZOO[name]
    config = recipe.config()
    config._attn_implementation = "eager"
    made = recipe.model_class()(config).eval()
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.05)
        for key, buffer in made.named_buffers():
            if key.endswith("running_var"):
                buffer.add_(torch.rand(buffer.shape, generator=noise) * 0.5)
            if key.endswith("running_mean"):
                buffer.add_(torch.randn(buffer.shape, generator=noise) * 0.1)
    return made


def save(name: str, folder: Path) -> nn.Module:
    """Write the model in Hugging Face layout, with what its tasks need beside it; the same model, eager."""
    made = model(name)
    made.save_pretrained(folder)
    for path, content in ZOO[name].files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return made


def runs(name: str, eager: nn.Module, batch: int = 1) -> list[Run]:
    """What to run, in order, and what must come out; a run may read what an earlier one left (SAM)."""
    with torch.no_grad():
        return ZOO[name].runs(eager, batch)


__all__ = ["ZOO", "Recipe", "Run", "entry_name", "model", "runs", "save"]
