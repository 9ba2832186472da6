"""A model without its checkpoint: config.json, the small files beside it where there are any, and weights of zeros."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgeq.errors import ModelError
from edgeq.frontend.folder import NEEDED, read_config
from edgeq.frontend.skeleton import build_skeleton, stored_tensors
from edgeq.frontend.source import Source, demo_cache
from edgeq.frontend.tokenizer import compile_files, folder_assets
from edgeq.frontend.weights import NamedWeights

STORED = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
WEIGHT_FILES = ("*.safetensors", "*.safetensors.index.json")


class BlankWeights:
    """The tensors that a checkpoint of a config holds, by name and shape; every value is zero, nothing is read."""

    def __init__(self, config: Any) -> None:
        self._tensors = stored_tensors(build_skeleton(config))
        self._dtype = STORED.get(getattr(config, "dtype", None) or torch.float32, "F32")

    def names(self) -> list[str]:
        """Every name that the model uses, tied ones under each."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape in the checkpoint."""
        return tuple(self._tensors[name].shape)

    def dtype(self, name: str) -> str:
        """As config.json says that the checkpoint is stored."""
        return self._dtype

    def read(self, name: str, rows: slice | None = None) -> Tensor:
        """Zeros f32, of the whole tensor or some of its rows; an expanded scalar: it takes no memory."""
        shape = list(self.shape(name))
        if rows is not None and shape:
            shape[0] = len(range(*rows.indices(shape[0])))
        return torch.zeros(()).expand(shape)


def open_blank(model: str, revision: str | None = None) -> Source:
    """Open a model by what describes it: a folder that holds only config.json does; no weight file is opened.

    Args:
        model: a folder, a hub id (its weights are not downloaded), a `.gguf` file (its header is read), `demo:NAME`.

    Raises:
        ModelError, UnsupportedError: as `edgeq.frontend.source.open_model`, but weights may be missing.
    """
    folder = _folder(model, revision)
    if folder.suffix == ".gguf":
        return _blank_gguf(model, folder)
    config = read_config(folder)
    return Source(model, config, NamedWeights(BlankWeights(config)), folder_assets(folder), compile_files(folder))


def _folder(model: str, revision: str | None) -> Path:
    """The folder, or the .gguf file."""
    if model.startswith("demo:"):
        from edgeq.frontend.demo import demo_path

        return demo_path(model, demo_cache())
    path = Path(model).expanduser()
    if path.is_dir() or path.suffix == ".gguf":
        return path
    if path.exists():
        raise ModelError(f"{model} is a file: give a folder with config.json, or a .gguf file")
    return _described(model, revision)


def _described(model: str, revision: str | None) -> Path:
    """A hub model's files but for its weights."""
    from edgeq.frontend.folder import hub_snapshot

    return hub_snapshot(model, revision, [pattern for pattern in NEEDED if pattern not in WEIGHT_FILES])


def _blank_gguf(model: str, path: Path) -> Source:
    from edgeq.frontend.gguf_file import GgufFile
    from edgeq.frontend.gguf_source import gguf_config
    from edgeq.frontend.tokenizer_gguf import gguf_assets

    file = GgufFile(path)
    config = gguf_config(file)
    return Source(model, config, NamedWeights(BlankWeights(config)), gguf_assets(file, config))
