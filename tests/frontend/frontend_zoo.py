"""Tiny seeded models, one per architecture and feature that the frontend must raise."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import fx, nn

from edgeq.frontend.export import attribute, set_tensor
from edgeq.ir.graph import inputs

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100,
    "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
GROUPED = {"num_key_value_heads": 2}
WINDOWED = {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"]}
LONG_ROPE = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}

# name -> (config class, options beyond SIZES)
ZOO: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", GROUPED),
    "llama3": ("LlamaConfig", {**GROUPED, "rope_parameters": LONG_ROPE}),
    "llama_tied_biased": ("LlamaConfig", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    "llama_yarn": ("LlamaConfig", {**GROUPED, "rope_parameters": YARN}),
    "smollm3": ("SmolLM3Config", {**GROUPED, "no_rope_layers": [1, 0]}),
    "qwen2": ("Qwen2Config", GROUPED),
    "qwen3": ("Qwen3Config", {**GROUPED, "head_dim": 32}),
    "gemma": ("GemmaConfig", {**GROUPED, "head_dim": 16}),
    "gemma2": ("Gemma2Config", {**GROUPED, **WINDOWED, "head_dim": 16, "query_pre_attn_scalar": 24}),
    "gemma3": ("Gemma3TextConfig", {**GROUPED, **WINDOWED, "head_dim": 16}),
    "mistral": ("MistralConfig", {**GROUPED, "sliding_window": 4}),
    "phi": ("PhiConfig", {"partial_rotary_factor": 0.5}),
    "phi3": ("Phi3Config", GROUPED),
    "phi3_partial": ("Phi3Config", {**GROUPED, "partial_rotary_factor": 0.5}),
    "opt": ("OPTConfig", {"ffn_dim": 128, "word_embed_proj_dim": 64}),
    "gpt2": ("GPT2Config", {}),
    "gpt_neox": ("GPTNeoXConfig", {}),
    "gpt_neox_half": ("GPTNeoXConfig", {"rotary_pct": 0.5}),
    "gpt_neox_sequential": ("GPTNeoXConfig", {"use_parallel_residual": False, "rotary_pct": 1.0}),
    "stablelm": ("StableLmConfig", GROUPED),
    "starcoder2": ("Starcoder2Config", {**GROUPED, "sliding_window": None}),
    "olmo2": ("Olmo2Config", GROUPED),
    "granite": ("GraniteConfig", {**GROUPED, "embedding_multiplier": 3.0, "residual_multiplier": 0.5}),
    "falcon": ("FalconConfig", {}),
    "arcee": ("ArceeConfig", GROUPED),
    "ernie": ("Ernie4_5Config", {**GROUPED, "head_dim": 16}),
    "exaone4": ("Exaone4Config", {**GROUPED, "head_dim": 16, "sliding_window": 4}),
    "glm": ("GlmConfig", {**GROUPED, "head_dim": 16}),
    "cohere": ("CohereConfig", GROUPED),
}


def config(name: str) -> Any:
    """The transformers config of a zoo entry."""
    cls, options = ZOO[name]
    return getattr(transformers, cls)(**{**SIZES, **options})


def model(name: str) -> nn.Module:
    """The eager model, every parameter perturbed (norm weights of 1 and biases of 0 would hide errors)."""
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(config(name), attn_implementation="eager").eval()
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise) * 0.05)
    return made


def fill(gm: fx.GraphModule, eager: nn.Module) -> fx.GraphModule:
    """Replace the graph's meta weights by the eager model's parameters."""
    parameters = dict(eager.named_parameters(remove_duplicate=False))
    for node in gm.graph.nodes:
        if node.op == "get_attr" and attribute(gm, node.target).device.type == "meta":
            set_tensor(gm, node.target, parameters[node.target].detach())
    gm.recompile()
    return gm


def logits(gm: fx.GraphModule, length: int) -> torch.Tensor:
    """f32 `[1, length, vocab]` of a filled graph on `tokens(length)`."""
    given = {"input_ids": tokens(length), "position_ids": torch.arange(length)[None]}
    with torch.no_grad():
        return gm(*(given[name] for name in inputs(gm)))


def tokens(length: int) -> torch.Tensor:
    """i64 `[1, length]`."""
    return (torch.arange(length)[None] * 7 + 3) % 97
