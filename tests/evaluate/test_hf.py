from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from edgeq.evaluate.hf import float_logits, load_float
from edgeq.evaluate.perplexity import perplexity
from edgeq.frontend.source import open_model

SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.mark.parametrize("tied", [True, False])
def test_a_source_becomes_the_model_that_it_holds(tmp_path: Path, tied: bool) -> None:
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=40, tie_word_embeddings=tied, **SHAPE)).eval()
    model.save_pretrained(tmp_path)
    loaded = load_float(open_model(str(tmp_path)))
    assert (loaded.lm_head.weight is loaded.model.embed_tokens.weight) == tied
    tokens = list(range(20))
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    # Not bit for bit: torch's matrix products depend on how the operands happen to lie in memory.
    assert np.allclose(float_logits(loaded)(tokens), float_logits(model)(tokens), rtol=1e-5, atol=1e-6)


def test_a_hugging_face_model_is_scored_as_by_its_own_loss() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=40, **SHAPE))
    tokens = torch.randint(0, 40, (64,)).tolist()
    logits = float_logits(model)
    assert logits(tokens[:5]).shape == (5, 40)
    labels = [-100] * 17 + tokens[17:32], [-100] * 17 + tokens[49:64]
    inputs = torch.tensor([[7, *tokens[1:32]], [7, *tokens[33:64]]])
    with torch.no_grad():
        loss = model.eval()(input_ids=inputs, labels=torch.tensor(labels)).loss
    assert np.isclose(perplexity(logits, tokens, bos=7, window=32).perplexity, float(loss.exp()), rtol=1e-4)
