"""The models that docs/models.py tries: how each is saved, compiled and compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import frontend_zoo
import numpy as np
import static_zoo
import torch
import transformers
import zoo_more
from zoo_compiled import Comparison, Pair, compare, one_isa

from edgeq.compiling.compiler import Options, compile_into
from edgeq.frontend.entries import Shapes
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session

LENGTH, CONTEXT, CHUNK = 40, 48, 16
DECODERS, STATIC, OTHERS, REFUSED = "Language models", "Encoders, vision, encoder-decoders", "Others", "Refused"
Check = Callable[..., tuple[Session, Callable[[Session], Comparison]]]


@dataclasses.dataclass(frozen=True)
class Case:
    """save: writes the model; gives its class name and what compiles it to a session and a comparison."""

    name: str
    save: Callable[[Path], tuple[str, Check]]


def cases() -> Iterator[tuple[str, Case]]:
    """(group, case), in the page's order."""
    yield from ((DECODERS, Case(name, decoder(name))) for name in frontend_zoo.ZOO)
    yield from ((STATIC, Case(name, static(name))) for name in static_zoo.ZOO)
    static_zoo.ZOO.update(zoo_more.RECIPES)
    yield from ((OTHERS, Case(name, static(name))) for name in zoo_more.RECIPES)
    yield from ((REFUSED, Case(name, made_of(name, *what))) for name, what in OUTSIDE.items())
    yield REFUSED, Case("custom code", custom_code)


def compiled(model: Path, artifact: Path, bits: str, progress: Any, shapes: Shapes) -> Session:
    """Compile a folder for this machine's best instruction set and open it."""
    options = Options(str(model), one_isa(), Bits.parse(bits), CONTEXT, CHUNK, shapes=shapes)
    compile_into(artifact, options, progress)
    return Session(artifact, threads=2, verify=False)


def static(name: str) -> Callable[[Path], tuple[str, Check]]:
    """A model of the zoo of static entries: every entry, every batch."""

    def save(folder: Path) -> tuple[str, Check]:
        eager, recipe = static_zoo.save(name, folder), static_zoo.ZOO[name]

        def check(model: Path, artifact: Path, bits: str, progress: Any) -> Any:
            batches = recipe.batches if bits == "fp32" else (1,)
            session = compiled(model, artifact, bits, progress, Shapes(batches, recipe.lengths or (128,)))
            runs = [run for batch in batches for run in static_zoo.runs(name, eager, batch)]
            return session, lambda session: compare(session, runs)

        return type(eager).__name__, check

    return save


def decoder(name: str) -> Callable[[Path], tuple[str, Check]]:
    """A decoder-only model of the frontend's zoo: the logits after each of 40 tokens."""
    if name in WIDER:
        return made_of(name, frontend_zoo.ZOO[name][0], WIDER[name])
    return language_model(lambda: frontend_zoo.model(name))


def made_of(name: str, cls: str, options: dict[str, Any]) -> Callable[[Path], tuple[str, Check]]:
    """A decoder-only model of any config class."""

    def made() -> torch.nn.Module:
        torch.manual_seed(0)
        config = getattr(transformers, cls)(**{**frontend_zoo.SIZES, **options})
        return transformers.AutoModelForCausalLM.from_config(config).eval()

    return language_model(made)


def language_model(made: Callable[[], torch.nn.Module]) -> Callable[[Path], tuple[str, Check]]:
    """A decoder-only model, saved as it is."""

    def save(folder: Path) -> tuple[str, Check]:
        eager = made()
        eager.save_pretrained(folder)

        def check(model: Path, artifact: Path, bits: str, progress: Any) -> Any:
            session = compiled(model, artifact, bits, progress, Shapes())
            return session, lambda session: Comparison([logits(eager, session)])

        return type(eager).__name__, check

    return save


def logits(eager: torch.nn.Module, session: Session) -> Pair:
    """f32[40, vocab], token by token, beside eager's."""
    tokens = frontend_zoo.tokens(LENGTH)
    with torch.no_grad():
        want = eager(tokens, use_cache=False).logits[0].numpy()
    return Pair("logits", want, np.asarray(session.logits(tokens[0].tolist())))


def custom_code(folder: Path) -> tuple[str, Check]:
    """A checkpoint whose model type only its own Python file knows."""
    folder.mkdir()
    config = {"model_type": "my_model", "auto_map": {"AutoModel": "modeling_my_model.MyModel"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def check(model: Path, artifact: Path, bits: str, progress: Any) -> Any:
        return compiled(model, artifact, bits, progress, Shapes()), None

    return "MyModel", check


# Heads as wide as real ones: a quarter of 16 channels, which the zoo has, cannot be rotated by whole vectors.
WIDER: dict[str, dict[str, Any]] = {"gpt_neox": {"num_attention_heads": 2}}
EXPERTS = {"num_key_value_heads": 2, "num_experts_per_tok": 2}
LONG = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * 8, "long_factor": [4.0] * 8}
# name -> (config class, options beyond the zoo's sizes): what edgeq is expected to refuse
OUTSIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "mixtral": ("MixtralConfig", {**EXPERTS, "num_local_experts": 4}),
    "qwen3_moe": ("Qwen3MoeConfig", {**EXPERTS, "num_experts": 4, "moe_intermediate_size": 32, "head_dim": 16}),
    "gpt_oss": ("GptOssConfig", {**EXPERTS, "num_local_experts": 4, "head_dim": 16, "sliding_window": 4}),
    "mamba": ("MambaConfig", {"state_size": 8}),
    "mamba2": ("Mamba2Config", {"num_heads": 8, "head_dim": 16, "state_size": 8, "n_groups": 1}),
    "jamba": ("JambaConfig", {**EXPERTS, "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1,
                              "use_mamba_kernels": False}),
    "rwkv": ("RwkvConfig", {"attention_hidden_size": 64}),
    "bloom": ("BloomConfig", {"n_layer": 2, "n_head": 4}),
    "gptj": ("GPTJConfig", {"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8, "n_positions": 64}),
    "codegen": ("CodeGenConfig", {"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8, "n_positions": 64}),
    "phi3_longrope": ("Phi3Config", {"num_key_value_heads": 2, "rope_parameters": LONG,
                                     "original_max_position_embeddings": 32}),
    "deepseek_v3": ("DeepseekV3Config", {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1,
                                         "topk_group": 1, "moe_intermediate_size": 32, "first_k_dense_replace": 1,
                                         "kv_lora_rank": 16,
                                         "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
                                         "v_head_dim": 8}),
}  # fmt: skip
