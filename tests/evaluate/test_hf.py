from __future__ import annotations

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from edgeq.evaluate.hf import float_logits
from edgeq.evaluate.perplexity import perplexity


def test_a_hugging_face_model_is_scored_as_by_its_own_loss() -> None:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=40, **shape))
    tokens = torch.randint(0, 40, (64,)).tolist()
    logits = float_logits(model)
    assert logits(tokens[:5]).shape == (5, 40)
    labels = [-100] * 17 + tokens[17:32], [-100] * 17 + tokens[49:64]
    inputs = torch.tensor([[7, *tokens[1:32]], [7, *tokens[33:64]]])
    with torch.no_grad():
        loss = model.eval()(input_ids=inputs, labels=torch.tensor(labels)).loss
    assert np.isclose(perplexity(logits, tokens, bos=7, window=32).perplexity, float(loss.exp()), rtol=1e-4)
