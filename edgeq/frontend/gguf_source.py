"""A GGUF file as a model: config, weights and tokenizer from its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import ModelError, UnsupportedError
from edgeq.frontend.gguf_file import GgufFile, GgufWeights, gguf_names
from edgeq.frontend.skeleton import build_skeleton
from edgeq.frontend.tokenizer_gguf import gguf_assets
from edgeq.frontend.weights import NamedWeights, bind
from edgeq.imports.checkpoint import ImportedWeights
from edgeq.imports.gguf_weights import imported_gguf


def open_gguf(path: Path) -> tuple[Any, NamedWeights, dict[str, bytes]]:
    """Config, weights and assets of a GGUF file; see `open_model` for what is raised."""
    file = GgufFile(path)
    config = gguf_config(file)
    model = build_skeleton(config)
    names = gguf_names(file, model, config.num_hidden_layers)
    unused = sorted(set(file.tensors) - set(names.values()))
    if unused:
        listed = ", ".join(unused[:4]) + (f" and {len(unused) - 4} more" if len(unused) > 4 else "")
        raise UnsupportedError(f"{path.name} holds tensors that {type(model).__name__} does not have: {listed}")
    stored = imported_gguf(GgufWeights(file, names, config))
    weights = NamedWeights(stored, tables=stored.tables() if isinstance(stored, ImportedWeights) else ())
    bind(weights, model, str(path))
    return config, weights, gguf_assets(file, config)


def gguf_config(file: GgufFile) -> Any:
    """The transformers config that the metadata describes, by transformers' own table of names.

    Raises:
        UnsupportedError: rotary scaling, which transformers does not read from a GGUF (the model would be wrong).
    """
    from transformers import AutoConfig
    from transformers.integrations.ggml import GGUF_CONFIG_DEFAULTS_MAPPING, GGUF_CONFIG_MAPPING

    _refuse_scaling(file)
    prefix = file.architecture + "."
    values = {"model_type": file.architecture, **(GGUF_CONFIG_DEFAULTS_MAPPING.get(file.architecture) or {})}
    for key, name in GGUF_CONFIG_MAPPING[file.architecture].items():
        if name and name != -1 and file.field(prefix + key) is not None:
            values[name] = _shortest(file.field(prefix + key))
    if file.field(prefix + "attention.key_length"):
        values["head_dim"] = file.field(prefix + "attention.key_length")
    if "position_embd.weight" in file.tensors:
        values["max_position_embeddings"] = file.tensors["position_embd.weight"].shape[0]
    values.setdefault("vocab_size", len(file.field("tokenizer.ggml.tokens", [])))
    values["tie_word_embeddings"] = "output.weight" not in file.tensors
    for kind, name in (("bos", "bos_token_id"), ("eos", "eos_token_id"), ("padding", "pad_token_id")):
        values[name] = file.field(f"tokenizer.ggml.{kind}_token_id")
    try:
        return AutoConfig.for_model(**values)
    except Exception as error:  # it raises whatever odd values lead to
        raise ModelError(f"{file.path}: its metadata is no config of {file.architecture!r}: {error}") from error


def _refuse_scaling(file: GgufFile) -> None:
    kind = file.field(f"{file.architecture}.rope.scaling.type", "none")
    if kind != "none" or any(name.startswith("rope_f") for name in file.tensors):
        raise UnsupportedError(
            f"{file.path.name}: this GGUF scales rotary frequencies ({kind}), which cannot be read back exactly. "
            "Compile the original Hugging Face folder instead"
        )


def _shortest(value: Any) -> Any:
    """GGUF stores float32: 9.99999974e-06 was 1e-05 in the original config."""
    return float(str(np.float32(value))) if isinstance(value, float) else value
