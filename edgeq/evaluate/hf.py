"""The float baseline: a Hugging Face model as the function that the metrics take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeq.evaluate.windows import Logits, Progress
from edgeq.frontend.skeleton import build_skeleton
from edgeq.frontend.source import Source


def load_float(source: Source, progress: Progress | None = None) -> torch.nn.Module:
    """The source's model in float32, all of it in memory (4 bytes a weight), tied weights shared.

    Raises ModelError when a tensor cannot be read, UnsupportedError when it is no decoder-only language model.
    """
    model = build_skeleton(source.config)
    total = sum(1 for _ in model.parameters())
    read: dict[int, torch.nn.Parameter] = {}
    skeleton = list(model.named_parameters(remove_duplicate=False))  # kept: an id must not be used again
    for name, parameter in skeleton:
        if id(parameter) not in read:
            read[id(parameter)] = torch.nn.Parameter(source.weights.read(name), requires_grad=False)
            if progress:
                progress("read the original's weights", len(read), total)
        module, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(module), leaf, read[id(parameter)])
    return model


def float_logits(model: Any) -> Logits:
    """`Logits` of a transformers causal language model, computed in its own dtype (load it in float32)."""
    model = model.eval()

    @torch.inference_mode()
    def logits(tokens: list[int]) -> NDArray[np.floating]:
        output = model(input_ids=torch.tensor([tokens], device=model.device), use_cache=False)
        return output.logits[0].float().cpu().numpy()

    return logits
