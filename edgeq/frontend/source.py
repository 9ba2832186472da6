"""Where models come from: a folder, a hub id, a GGUF file, or a demo model. No weight is read here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeq.errors import ModelError
from edgeq.frontend.demo import demo_path
from edgeq.frontend.folder import hub_snapshot, open_folder
from edgeq.frontend.tokenizer import compile_files
from edgeq.frontend.weights import NamedWeights


@dataclass
class Source:
    """A model that can be read.

    name: as the user gave it. config: the transformers config. weights: read lazily. assets: files that an artifact
    carries (tokenizer, preprocessing, chat template, generation config, licence), by file name. extras: files that say
    how the model is put together (sentence-transformers' modules), by path in its folder; only compiling needs them.
    imports: what became of weights that the checkpoint holds quantized (`edgeq/imports/record.py`), once it is known.
    """

    name: str
    config: Any
    weights: NamedWeights
    assets: dict[str, bytes] = field(default_factory=dict)
    extras: dict[str, bytes] = field(default_factory=dict)
    imports: list[Any] = field(default_factory=list)


def open_model(model: str, revision: str | None = None) -> Source:
    """Open a model without reading weights; every tensor's presence and shape is checked against the config.

    model: a folder with safetensors, a `.gguf` file, a Hugging Face hub id (at `revision`), `demo:smollm2-135m` or
    `demo:minilm`.

    Raises:
        ModelError: what is missing, half downloaded, damaged, or does not fit the config.
        UnsupportedError: a model that needs code of its own, or is quantized in a way that is not known.
        OutputError: a demo model cannot be unpacked in the user's cache.
    """
    path = demo_path(model, demo_cache()) if model.startswith("demo:") else Path(model).expanduser()
    if path.suffix == ".gguf":
        return _open_gguf(model, path)
    if not path.is_dir():
        if path.exists():
            raise ModelError(f"{model} is a file: give a folder with config.json and safetensors, or a .gguf file")
        path = hub_snapshot(model, revision)
    config, weights, assets = open_folder(path)
    return Source(model, config, weights, assets, compile_files(path))


def demo_cache() -> Path:
    """Where demo models are unpacked."""
    from edgeq.lower.objects import cache_folder

    return cache_folder() / "models"


def _open_gguf(name: str, path: Path) -> Source:
    from edgeq.frontend.gguf_source import open_gguf

    config, weights, assets = open_gguf(path)
    return Source(name, config, weights, assets)
