"""Tiny models of several shapes, compiled for one instruction set of this machine, and the replay of their plans."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.compiling.compiler import Options, compile_into
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session
from edgeq.targets import Isa, find

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from replay.entry import Replay
from replay.expected import Finding
from replay.rebuild import Rebuilt, rebuild

CONTEXT, CHUNK, VOCAB = 64, 32, 200
SIZES = {"vocab_size": VOCAB, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "initializer_range": 0.2}
LLAMA = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 2, **SIZES}
FLAGS = {"avx512vnni": "avx512_vnni"}  # /proc/cpuinfo's spelling where it differs from ours


def qwen3(tr: Any) -> Any:
    """Norms of each head, biases, heads wider than the hidden size, 3 query heads a key/value head."""
    grouped = {"num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32, "attention_bias": True}
    return tr.Qwen3Config(**{**LLAMA, **grouped})


def gemma2(tr: Any) -> Any:
    """Norms after each block, a scaled embedding, capped scores and logits, a window on every other layer."""
    heads = {"num_key_value_heads": 1, "head_dim": 16, "sliding_window": 8, "query_pre_attn_scalar": 16}
    capped = {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 1.0}
    return tr.Gemma2Config(**LLAMA, **heads, **capped)


def gpt2(tr: Any) -> Any:
    """Learned positions, layer norms, a bias everywhere, transposed weights."""
    return tr.GPT2Config(n_embd=64, n_layer=2, n_head=4, n_positions=CONTEXT, **SIZES)


def opt(tr: Any) -> Any:
    """Learned positions that start at 2, relu."""
    sizes = {k: v for k, v in SIZES.items() if k != "initializer_range"}
    shape = {"hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 1, "num_attention_heads": 4, "init_std": 0.2}
    return tr.OPTConfig(max_position_embeddings=CONTEXT, word_embed_proj_dim=64, **shape, **sizes)


def llama(tr: Any) -> Any:
    """Grouped-query attention, gated activation, untied head."""
    return tr.LlamaConfig(**{**LLAMA, "num_hidden_layers": 1}, num_key_value_heads=2, tie_word_embeddings=False)


CASES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "qwen3-w8a8kv8": (qwen3, "w8a8kv8"),
    "gemma2-w4a8g64a": (gemma2, "w4a8g64a"),
    "gpt2-w4a8pc": (gpt2, "w4a8pc"),
    "opt-w8a8g32": (opt, "w8a8g32kv32"),
    "llama-w4a16": (llama, "w4a16head4"),
    "llama-fp32": (llama, "fp32"),
}


def compile_case(name: str, folder: Path) -> Path:
    """Write a model with seeded weights and compile it; returns the artifact."""
    import torch
    import transformers

    config, bits = CASES[name]
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config(transformers)).save_pretrained(folder / "model")
    output = folder / "artifact"
    output.mkdir()
    target = replace(find("native"), isas=runnable()[:1])
    compile_into(output, Options(str(folder / "model"), target, Bits.parse(bits), CONTEXT, CHUNK), lambda *_: None)
    return output


def runnable() -> tuple[Isa, ...]:
    """Variants that this machine can execute, the best first."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    flags = set(next((line.split() for line in text.splitlines() if line.startswith("flags")), []))
    return tuple(isa for isa in find("native").isas if all(FLAGS.get(f, f) in flags for f in isa.needs))


def start(session: Session, plan: Rebuilt) -> Replay:
    """A replay at position 0; the caches are full of another text, and must not show."""
    session.feed(np.arange(CONTEXT) * 7 % VOCAB)
    session.rewind(0)
    return Replay(session, plan.plan, plan.isa(session.info.variant), plan.offsets)


def walk(replay: Replay) -> list[Finding]:
    """Findings of decode steps at several positions, a first chunk, a ragged later one, and the smallest."""
    chunk = replay.session.info.chunk
    ragged = max(chunk // 2 + 1, 2)
    steps = (("decode", 1), ("prefill", chunk), ("decode", 1), ("prefill", ragged), ("prefill", 2), ("decode", 1))
    rng = np.random.default_rng(0)
    return [f for entry, rows in steps for f in replay.check(entry, rng.integers(0, VOCAB, rows).tolist())]


__all__ = ["CASES", "compile_case", "rebuild", "runnable", "start", "walk"]
