"""Sentence embeddings: what sentence-transformers' modules.json puts behind a text encoder, in plain torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from edgeq.errors import UnsupportedError

MODULES = "modules.json"
KNOWN = ("Transformer", "Pooling", "Normalize")
FLAGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}
Run = Callable[[Any, dict[str, Tensor]], dict[str, Tensor]]


def pooled(files: dict[str, bytes], run: Run) -> Run:
    """`run`, or where the folder carries a pooling head: sentence_embedding `[B, D]` and last_hidden_state `[B, S, D]`.

    Raises:
        UnsupportedError: modules or a way of pooling that edgeq does not have.
    """
    if MODULES not in files:
        return run
    modules = json.loads(files[MODULES])
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    unknown = [kind for kind in kinds if kind not in KNOWN]
    if unknown:
        raise UnsupportedError(f"{MODULES} puts {', '.join(unknown)} behind the encoder; edgeq has {', '.join(KNOWN)}")
    if "Pooling" not in kinds:
        return run
    path = modules[kinds.index("Pooling")].get("path", "1_Pooling")
    return _head(run, _mode(files, f"{path}/config.json"), "Normalize" in kinds)


def _mode(files: dict[str, bytes], path: str) -> str:
    """mean, cls or max."""
    settings = json.loads(files.get(path, b"{}"))
    chosen = [name for flag, name in settings.items() if flag.startswith("pooling_mode_") and name is True]
    modes = [flag for flag, on in settings.items() if flag.startswith("pooling_mode_") and on is True]
    if settings.get("pooling_mode") in FLAGS.values() and not chosen:
        return str(settings["pooling_mode"])
    if len(modes) != 1 or modes[0] not in FLAGS:
        asked = " and ".join(modes) or "no pooling"
        raise UnsupportedError(f"{path} asks for {asked}; edgeq pools by mean, cls or max")
    return FLAGS[modes[0]]


def _head(run: Run, mode: str, normalised: bool) -> Run:
    def with_head(model: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
        hidden = run(model, given)["last_hidden_state"]
        mask = given["attention_mask"] if "attention_mask" in given else torch.ones(hidden.shape[:2], dtype=torch.long)
        embedding = pool(hidden, mask, mode)
        if normalised:
            embedding = torch.nn.functional.normalize(embedding, dim=1)
        return {"sentence_embedding": embedding, "last_hidden_state": hidden}

    return with_head


def pool(hidden: Tensor, mask: Tensor, mode: str) -> Tensor:
    """Hidden `[B, S, D]` and mask `[B, S]` (1: a token) -> `[B, D]`."""
    if mode == "cls":
        return hidden[:, 0]
    weight = mask.unsqueeze(-1).to(hidden.dtype)
    if mode == "max":
        return hidden.masked_fill(weight == 0, torch.finfo(hidden.dtype).min).amax(dim=1)
    return (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
