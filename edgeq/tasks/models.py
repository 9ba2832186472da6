"""The model of an artifact by what it is for: `open_model` gives the object whose methods do the task."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from edgeq.errors import UsageError
from edgeq.tasks.entry import EntryFacts, Session, facts

KINDS = {
    "embedding": ("text_models", "TextEmbedder"),
    "text-classification": ("text_models", "TextClassifier"),
    "token-classification": ("text_models", "TokenClassifier"),
    "fill-mask": ("fill_mask", "MaskFiller"),
    "image-classification": ("image_models", "ImageClassifier"),
    "image-features": ("image_models", "ImageEmbedder"),
    "two-tower": ("towers", "TwoTowers"),
    "detection": ("detection", "Detector"),
    "segmentation": ("segmentation", "Segmenter"),
    "encoder-decoder": ("encoder_decoder", "EncoderDecoder"),
}


def open_model(session: Session, task: dict[str, Any], folder: Path) -> Any:
    """The object for `task["kind"]`, each with the methods of its own file.

    Raises:
        UsageError: the kind has no task of its own; its entries are run with arrays.
    """
    if task["kind"] not in KINDS:
        names = ", ".join(entry["name"] for entry in task.get("entries", ())) or "decode, prefill"
        raise UsageError(f"no task is known for this {task['kind']} model: run its entries with arrays ({names})")
    module, name = KINDS[task["kind"]]
    return getattr(importlib.import_module(f"edgeq.tasks.{module}"), name)(session, task, folder)


def entries_of(task: dict[str, Any], takes: str) -> list[EntryFacts]:
    """The entries that have an input called `takes`."""
    return [entry for entry in map(facts, task["entries"]) if takes in entry.inputs]


def section(task: dict[str, Any], name: str) -> dict[str, Any]:
    """`task["text"]`, `task["image"]` or `task["audio"]`; raises UsageError where the model's files fell short."""
    found: dict[str, Any] = task[name]
    if "refused" in found:
        raise UsageError(
            f"{name} cannot be prepared for this model: {found['refused']}. Put the file into the model's folder and "
            "compile again, or give arrays: edgeq run ARTIFACT --entry NAME --input TENSOR=FILE.npy -o out.npz"
        )
    return found
