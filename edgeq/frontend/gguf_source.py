"""A GGUF file as a model: config, weights and tokenizer from its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import ModelError
from edgeq.frontend.gguf_file import GgufFile, GgufWeights, gguf_names
from edgeq.frontend.skeleton import build_skeleton
from edgeq.frontend.tokenizer_gguf import gguf_assets
from edgeq.frontend.weights import NamedWeights, bind


def open_gguf(path: Path) -> tuple[Any, NamedWeights, dict[str, bytes]]:
    """Config, weights and assets of a GGUF file; see `open_model` for what is raised."""
    file = GgufFile(path)
    config = gguf_config(file)
    model = build_skeleton(config)
    weights = NamedWeights(GgufWeights(file, gguf_names(file, model, config.num_hidden_layers), config))
    bind(weights, model, str(path))
    return config, weights, gguf_assets(file, config)


def gguf_config(file: GgufFile) -> Any:
    """The transformers config that the metadata describes, by transformers' own mapping."""
    from transformers import AutoConfig
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    try:
        values = load_gguf_checkpoint(str(file.path), return_tensors=False)["config"]
    except Exception as error:  # it raises whatever odd metadata leads to
        raise ModelError(f"{file.path}: transformers cannot read this GGUF's configuration: {error}") from error
    for key in ("bos", "eos", "padding"):
        found = file.field(f"tokenizer.ggml.{key}_token_id")
        if found is not None:
            values[f"{key.removesuffix('ding')}_token_id"] = int(found)
    return AutoConfig.for_model(**{key: _shortest(value) for key, value in values.items()})


def _shortest(value: Any) -> Any:
    """GGUF stores float32: 9.99999974e-06 was 1e-05 in the original config."""
    return float(str(np.float32(value))) if isinstance(value, float) else value
