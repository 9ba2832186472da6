"""PyTorch and transformers in float32, eager: the reference of accuracy, and a row of the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from peers.encoder_worker import Encoder, serve, size_of

if TYPE_CHECKING:
    from torch import nn


def load_model(folder: Path) -> nn.Module:
    """(input_ids, attention_mask) -> embeddings [B, width] of length 1: the mean over real tokens."""
    import torch
    from transformers import AutoModel

    class Embedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(folder, attn_implementation="eager")

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            real = attention_mask[..., None].to(hidden.dtype)
            mean = (hidden * real).sum(1) / real.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=-1)

    return Embedding().eval()


def load(prepared: Path, threads: int) -> Encoder:
    """prepared: the Hugging Face folder itself."""
    import torch

    torch.set_num_threads(threads)
    model = load_model(prepared)

    def embed(ids: Sequence[int]) -> np.ndarray:
        with torch.inference_mode():
            given = torch.tensor([ids])
            return model(given, torch.ones_like(given))[0].numpy()

    return Encoder(embed, f"torch {torch.__version__}", size_of(prepared / "model.safetensors"))


if __name__ == "__main__":
    serve(load)
