"""The float baseline: a Hugging Face model as the function that the metrics take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeq.evaluate.windows import Logits


def float_logits(model: Any) -> Logits:
    """`Logits` of a transformers causal language model, computed in its own dtype (load it in float32)."""
    model = model.eval()

    @torch.inference_mode()
    def logits(tokens: list[int]) -> NDArray[np.floating]:
        output = model(input_ids=torch.tensor([tokens], device=model.device), use_cache=False)
        return output.logits[0].float().cpu().numpy()

    return logits
