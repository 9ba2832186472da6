"""A folder in Hugging Face layout (config.json, safetensors, tokenizer files), local or from the hub."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeq.errors import ModelError, UnsupportedError
from edgeq.frontend.safetensors_file import SafetensorsWeights
from edgeq.frontend.skeleton import build_skeleton
from edgeq.frontend.tokenizer import folder_assets
from edgeq.frontend.weights import NamedWeights, bind

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
NEEDED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "LICENSE*", "LICENCE*", "NOTICE*"]
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def hub_snapshot(model: str, revision: str | None, patterns: Sequence[str] = NEEDED) -> Path:
    """Download (or find in the cache) a hub model's files of these `patterns`.

    HF_HOME, HF_TOKEN and HF_HUB_OFFLINE are respected.

    Raises:
        ModelError: no such model, no access, or no network.
    """
    if not HUB_ID.fullmatch(model) or model.startswith("."):
        raise ModelError(f"{model} does not exist: give a folder, a .gguf file, a hub id or a demo model")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # network, access and cache faults have no common base
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = f"{model} is no local folder, and the Hugging Face hub does not give it: {reason}"
        raise ModelError(message) from error


def open_folder(folder: Path) -> tuple[Any, NamedWeights, dict[str, bytes]]:
    """Config, weights and assets of a folder; see `open_model` for what is raised."""
    config = read_config(folder)
    quantization = config.__dict__.pop("quantization_config", None)
    stored = SafetensorsWeights(checkpoint_files(folder))
    model = build_skeleton(config)
    weights = named_weights(stored, model, quantization) if quantization else NamedWeights(stored)
    try:
        bind(weights, model, str(folder))
    except ModelError:
        _refuse_unsupported(config)
        raise
    return config, weights, folder_assets(folder)


def named_weights(stored: SafetensorsWeights, model: Any, quantization: dict[str, Any]) -> NamedWeights:
    """The tensors of a checkpoint that somebody quantized, by their names in the float model."""
    from edgeq.imports.checkpoint import ImportedWeights
    from edgeq.imports.found import Found
    from edgeq.imports.schemes import packed_weights

    found = ImportedWeights(stored, packed_weights(quantization, Found(stored, model)))
    return NamedWeights(found, tables=found.tables())


def _refuse_unsupported(config: Any) -> None:
    """Raise UnsupportedError when the model could not be compiled anyway.

    Checkpoints of mixtures of experts hold tensors that transformers merges as it loads them: what is wrong with such
    a model is not that tensors are missing.
    """
    from edgeq.frontend.classes import is_decoder_only
    from edgeq.frontend.graph import raised_graph

    if is_decoder_only(config):
        raised_graph(config)


def read_config(folder: Path) -> Any:
    """The transformers config from config.json alone; code that comes with a checkpoint is never run."""
    path = folder / "config.json"
    raw = _read_json(path, "give a folder in Hugging Face layout")
    if "model_type" not in raw:
        raise ModelError(f"{path} names no model_type")
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    _refuse_remote_code(path, raw)
    if raw["model_type"] not in CONFIG_MAPPING:
        raise UnsupportedError(f"{path}: no model type {raw['model_type']!r} in transformers; remote code is never run")
    try:
        return AutoConfig.for_model(**_numbers(raw))
    except Exception as error:
        raise ModelError(f"{path} is not a config of model type {raw['model_type']!r}: {error}") from error


def _numbers(raw: Any) -> Any:
    """`{"__float__": "Infinity"}`, as transformers writes what JSON has no word for, as the number."""
    if isinstance(raw, dict):
        return float(raw["__float__"]) if set(raw) == {"__float__"} else {k: _numbers(v) for k, v in raw.items()}
    return [_numbers(item) for item in raw] if isinstance(raw, list) else raw


def _refuse_remote_code(path: Path, raw: dict[str, Any]) -> None:
    """Refuse a model whose class comes with it; a class that transformers has is used in place of its copy."""
    import transformers

    custom, named = raw.get("auto_map") or {}, (raw.get("architectures") or [None])[0]
    if custom and named is not None and not hasattr(transformers, str(named)):
        modules = ", ".join(sorted({str(entry) for entry in custom.values()}))
        raise UnsupportedError(
            f"{path}: {named} is code that comes with the checkpoint ({modules}); remote code is never run"
        )


def _read_json(path: Path, advice: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: {advice}") from error
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} is no JSON object")
    return found


def checkpoint_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, all of them there.

    Raises:
        ModelError: no checkpoint, pickle only, or shards that the index lists and the folder lacks.
    """
    if (folder / INDEX).exists():
        return _shards(folder)
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if any(folder.glob("pytorch_model*.bin")) or any(folder.glob("*.pt")) or any(folder.glob("*.pth")):
        raise ModelError(
            f"{folder} holds a pickle checkpoint only, which can run code when it is read; "
            "save it as safetensors first (model.save_pretrained does)"
        )
    found = sorted(folder.glob("*.safetensors"))
    if found:
        raise ModelError(f"{folder} holds {found[0].name} but neither {SINGLE} nor {INDEX}: download it again")
    raise ModelError(f"{folder} holds no weights: neither {SINGLE} nor {INDEX}")


def _shards(folder: Path) -> list[Path]:
    table = _read_json(folder / INDEX, "download the checkpoint again").get("weight_map")
    if not isinstance(table, dict) or not table:
        raise ModelError(f"{folder / INDEX} has no weight_map")
    names = sorted({str(name) for name in table.values()})
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        listed = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise ModelError(f"{folder} is half downloaded: {len(missing)} of {len(names)} shards are missing ({listed})")
    return [folder / name for name in names]
