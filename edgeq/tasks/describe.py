"""Compile time: what a model is for and what its run time must know, stored in edgeq.json as `task`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.tasks.entry import EntryFacts, facts
from edgeq.tasks.generation import describe_audio, describe_generation
from edgeq.tasks.kinds import IMAGE_VECTORS, TEXT_VECTORS, kind_of, of_input, vector
from edgeq.tasks.preprocessing import checked_steps, fitted, processor_of

Task = dict[str, Any]
ReadWeight = Callable[[str], Any]
CLASSIFIERS = ("text-classification", "token-classification", "image-classification", "detection")
UNLIMITED = 10**6  # tokenizers without a limit say 10^30


def task_of(
    config: Any, assets: dict[str, bytes], entries: Sequence[Any], read_weight: ReadWeight | None = None
) -> Task:
    """The section `task` of edgeq.json.

    Args:
        config: the transformers config.
        assets: files that came with the model, by name.
        entries: `EntryGraph`s, or dictionaries with their keys.
        read_weight: a tensor by its Hugging Face name, KeyError or an EdgeqError when there is none; two towers need
            their `logit_scale` and `logit_bias`.

    Returns:
        `kind` (see `kinds.kind_of`) and `entries`; by kind also `labels`, `activation`, `text`, `image`, `output`,
        `audio`, `generation`, `logit_scale`, `logit_bias`. What the model's files lack or edgeq cannot do is a
        text `refused` in its section: running the task then says so, and the entries can still be run with arrays.
    """
    known = [facts(entry) for entry in entries]
    labels = labels_of(config)
    task: Task = {"kind": kind_of(known, len(labels), getattr(config, "vocab_size", None) or 0)}
    if task["kind"] == "chat":
        return task
    task["entries"] = [entry.to_json() for entry in known]
    if task["kind"] in CLASSIFIERS:
        task |= _classes(config, labels, known[0], task["kind"])
    texts, images = of_input(known, "input_ids"), of_input(known, "pixel_values")
    if texts and task["kind"] != "features":
        task["text"] = _text(config, assets, texts)
    if images:
        task["image"] = _image(assets, images[0])
    if task["kind"] == "two-tower":
        task |= _scale(read_weight)
    if task["kind"] == "encoder-decoder":
        task |= {"generation": describe_generation(config, assets), **describe_audio(assets, known)}
    return task


def labels_of(config: Any) -> list[str]:
    """Names of the classes in order; [] when the config names none."""
    table = getattr(config, "id2label", None) or {}
    return [str(table[key]) for key in sorted(table, key=int)]


def _classes(config: Any, labels: list[str], entry: EntryFacts, kind: str) -> Task:
    """A detector without the class "no object" scores each class by itself."""
    count = entry.outputs["logits"][-1]
    named = labels[:count] + [f"LABEL_{i}" for i in range(len(labels), count)]
    if kind == "detection":
        none = count == len(labels) + 1
        return {"labels": labels if none else named, "activation": "softmax" if none else "sigmoid"}
    problem = getattr(config, "problem_type", None)
    if problem == "regression" or (count == 1 and problem is None):
        return {"labels": named, "activation": "none"}
    return {"labels": named, "activation": "sigmoid" if problem == "multi_label_classification" else "softmax"}


def _text(config: Any, assets: dict[str, bytes], entries: list[EntryFacts]) -> Task:
    """`full`: padding is seen by the model, which was trained with every text padded to the end (SigLIP)."""
    settings = _json(assets, "tokenizer_config.json")
    takes = settings.get("model_input_names") or ["attention_mask"]
    limits = [settings.get("model_max_length"), _json(assets, "sentence_bert_config.json").get("max_seq_length")]
    inner = getattr(config, "text_config", None) or config
    pads = [getattr(part, "pad_token_id", None) for part in (config, inner)]
    return {
        "max_length": min((int(limit) for limit in limits if limit and limit < UNLIMITED), default=None),
        "pad_id": next((int(pad) for pad in pads if pad is not None), 0),
        "full": "attention_mask" not in takes or all("attention_mask" not in e.inputs for e in entries),
        "output": vector(entries[0], TEXT_VECTORS),
        **({} if "tokenizer.json" in assets else {"refused": "the model came without tokenizer.json"}),
    }


def _image(assets: dict[str, bytes], entry: EntryFacts) -> Task:
    _, channels, height, width = entry.inputs["pixel_values"]
    found = {"channels": channels, "height": height, "width": width, "output": vector(entry, IMAGE_VECTORS)}
    try:
        processor = processor_of(assets)
        if processor is None:
            return {
                **found,
                "refused": "the model came without preprocessor_config.json, which says what to do with a photo",
            }
        steps, note = fitted(checked_steps(processor), (height, width), "pixel_mask" in entry.inputs)
    except UnsupportedError as error:
        return {**found, "refused": str(error)}
    return {**found, "steps": steps.to_json(), "note": note}


def _scale(read_weight: ReadWeight | None) -> Task:
    """The learned scale (before exp) and bias of the logits; a bias means sigmoid (SigLIP), none softmax (CLIP)."""
    found = {name: _constant(read_weight, name) for name in ("logit_scale", "logit_bias")}
    if found["logit_scale"] is None:
        return {}
    return {**found, "activation": "softmax" if found["logit_bias"] is None else "sigmoid"}


def _constant(read_weight: ReadWeight | None, name: str) -> float | None:
    from edgeq.errors import EdgeqError

    if read_weight is None:
        return None
    try:
        return float(np.asarray(read_weight(name), np.float32).reshape(()))
    except (KeyError, EdgeqError):
        return None


def _json(assets: dict[str, bytes], name: str) -> dict[str, Any]:
    return dict(json.loads(assets[name])) if name in assets else {}
