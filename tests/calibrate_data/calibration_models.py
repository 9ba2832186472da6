"""Models without weights, and graphs that take what they take: what tests of calibration data open it for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tiny
from torch import fx

from edgeq.frontend.source import Source
from edgeq.ir.text import parse

TOKEN_GRAPH = """
%input_ids = input : i64[1, s]
%position_ids = input : i64[1, s]
%w = weight wte.weight : f32[272, 16]
%x = aten.embedding(%w, %input_ids) : f32[1, s, 16] @ wte
return %x
"""
ENCODER_GRAPH = """
%input_ids = input : i64[2, 24]
%attention_mask = input : i64[2, 24]
%w = weight words.weight : f32[272, 16]
%x = aten.embedding(%w, %input_ids) : f32[2, 24, 16] @ words
return (%x,)
"""
IMAGE_GRAPH = """
%pixel_values = input : f32[2, 3, 32, 32]
%x = aten.relu(%pixel_values) : f32[2, 3, 32, 32]
return (%x,)
"""
POINT_GRAPH = """
%input_points = input : f32[1, 1, 3, 2]
%input_labels = input : i64[1, 1, 3]
%x = aten.relu(%input_points) : f32[1, 1, 3, 2]
return (%x,)
"""
PREPROCESSOR = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 32, "width": 32},
    "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_rescale": True,
}  # fmt: skip


def graph(text: str) -> fx.GraphModule:
    return parse(text.strip())


def tokenizer_files(folder: Path, begin: str = "") -> dict[str, bytes]:
    """The byte-level tokenizer of the tiny model: id = byte's place in its alphabet; `begin`: put before every text."""
    tiny.write_byte_tokenizer(folder)
    files = {name: (folder / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}
    if begin:
        from tokenizers import Tokenizer, processors

        tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
        ids = [(begin, tokenizer.token_to_id(begin))]
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin} $A", special_tokens=ids)
        files["tokenizer.json"] = tokenizer.to_str().encode()
    return files


def without_template(files: dict[str, bytes]) -> dict[str, bytes]:
    settings = json.loads(files["tokenizer_config.json"])
    del settings["chat_template"]
    return {**files, "tokenizer_config.json": json.dumps(settings).encode()}


def decoder(files: dict[str, bytes]) -> Source:
    from transformers import LlamaConfig

    return _source(LlamaConfig(**tiny.CONFIG, architectures=["LlamaForCausalLM"]), files)


def encoder(files: dict[str, bytes]) -> Source:
    from transformers import BertConfig

    return _source(BertConfig(architectures=["BertModel"], max_position_embeddings=64), files)


def vision(files: dict[str, bytes] | None = None) -> Source:
    from transformers import ViTConfig

    given = {"preprocessor_config.json": json.dumps(PREPROCESSOR).encode()} if files is None else files
    return _source(ViTConfig(architectures=["ViTModel"], image_size=32, patch_size=8), given)


def segmenter() -> Source:
    from transformers import SamConfig

    return _source(SamConfig(architectures=["SamModel"]), vision().assets)


def towers(files: dict[str, bytes]) -> Source:
    from transformers import CLIPConfig

    return _source(CLIPConfig(architectures=["CLIPModel"]), {**files, **vision().assets})


def _source(config: Any, files: dict[str, bytes]) -> Source:
    return Source("tiny", config, None, files)
