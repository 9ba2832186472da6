"""SAM of full size, random weights, as a Hugging Face folder; a random image, points, the eager model in steps."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

IMAGE = 1024
POINTS = tuple(
    (np.array([[[point]]], np.float32), np.array([[[label]]], np.int32))
    for point, label in (((500.0, 375.0), 1), ((100.5, 900.25), 1), ((800.0, 200.0), 0))
)


def ensure_model(folder: Path) -> Path:
    """Write the model unless it is there; nothing half-written keeps the final name.

    transformers' own initial weights of SAM's image encoder are zeros but for 1e-10: noise of every tensor's usual
    size is added, so that every layer matters.
    """
    if folder.exists():
        return folder
    import torch
    import transformers

    torch.manual_seed(0)
    model = transformers.SamModel(transformers.SamConfig())
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.02)
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    partial.rename(folder)
    return folder


def random_image() -> np.ndarray:
    """f32[1, 3, 1024, 1024], standard normal, as a preprocessed photo is."""
    return np.random.default_rng(0).standard_normal((1, 3, IMAGE, IMAGE), np.float32)


class Eager:
    """transformers' SamModel in the steps of the artifact's entries: image once, then prompts and masks."""

    def __init__(self, folder: Path, threads: int) -> None:
        import torch
        import transformers

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch = torch
        self.model = transformers.SamModel.from_pretrained(folder).eval()

    def image(self, pixels: np.ndarray) -> None:
        self.features = self.model.get_image_embeddings(self.torch.from_numpy(pixels))

    def prompt(self, points: np.ndarray, labels: np.ndarray) -> None:
        given = self.torch.from_numpy(points), self.torch.from_numpy(labels).long()
        self.sparse, self.dense = self.model.get_prompt_embeddings(*given)

    def mask(self) -> dict[str, np.ndarray]:
        found, scores = self.model.mask_decoder(
            image_embeddings=self.features,
            image_positional_embeddings=self.model.get_image_wide_positional_embeddings(),
            sparse_prompt_embeddings=self.sparse,
            dense_prompt_embeddings=self.dense,
            multimask_output=True,
        )[:2]
        return {"pred_masks": found.numpy(), "iou_scores": scores.numpy()}
