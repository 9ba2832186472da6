"""Compile time: how an encoder-decoder begins, what it must and must not say, and what it hears."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from edgeq.tasks.entry import EntryFacts

LISTS = ("suppress_tokens", "begin_suppress_tokens")
NUMBERS = ("forced_bos_token_id", "no_repeat_ngram_size", "min_length", "max_length", "max_new_tokens")
SPEECH = ("lang_to_id", "task_to_id", "no_timestamps_token_id", "is_multilingual", "forced_decoder_ids")
SOUND = {
    "feature_size": 80,
    "sampling_rate": 16000,
    "hop_length": 160,
    "n_fft": 400,
    "padding_value": 0.0,
}  # WhisperFeatureExtractor's defaults


def describe_generation(config: Any, assets: dict[str, bytes]) -> dict[str, Any]:
    """`start` (the decoder's first token), `eos`, and what generation_config.json (else the config) asks for."""
    given = json.loads(assets.get("generation_config.json", b"{}"))
    get = lambda name: given[name] if given.get(name) is not None else getattr(config, name, None)  # noqa: E731
    eos = get("eos_token_id")
    found = {
        "start": get("decoder_start_token_id"),
        "eos": eos if isinstance(eos, list) else [] if eos is None else [eos],
        **{name: [int(i) for i in get(name) or () if int(i) >= 0] for name in LISTS},
        **{name: get(name) for name in (*NUMBERS, *SPEECH)},
    }
    return {name: value for name, value in found.items() if value not in (None, [], {})}


def describe_audio(assets: dict[str, bytes], entries: Sequence[EntryFacts]) -> dict[str, Any]:
    """`audio`: how sound becomes `input_features [1, mels, frames]`; {} for a model that takes none."""
    entry = next((entry for entry in entries if "input_features" in entry.inputs), None)
    if entry is None:
        return {}
    files = (json.loads(assets.get(name, b"{}")) for name in ("preprocessor_config.json", "processor_config.json"))
    given: dict[str, Any] = next((found.get("feature_extractor", found) for found in files if found), {})
    kind = given.get("feature_extractor_type")
    if kind != "WhisperFeatureExtractor":
        reason = (
            f"preprocessor_config.json asks for {kind}" if kind else "the model came without preprocessor_config.json"
        )
        return {"audio": {"refused": f"{reason}; edgeq computes the features of WhisperFeatureExtractor"}}
    spec = {name: given.get(name, default) for name, default in SOUND.items()}
    return {"audio": {**spec, "frames": entry.inputs["input_features"][-1]}}
