"""T5, BART, Whisper: an encoder once, then tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from zoo_recipe import Recipe, Run, config, entry_name, random, run, to_numpy
from zoo_text import padded

LENGTHS, TOKENS = (7, 24), (2, 17, 5, 63, 40, 8, 91)
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES: dict[str, Any] = {
    "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "vocab_size": 100, "decoder_start_token_id": 2, **SPECIAL,
}  # fmt: skip
T5: dict[str, Any] = {
    "d_model": 48, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4, "vocab_size": 100, "pad_token_id": 0,
    "eos_token_id": 1, "decoder_start_token_id": 0,
}  # fmt: skip
MELS, FRAMES = 16, 20


def answered(eager: nn.Module, entry: str, inputs: dict[str, torch.Tensor]) -> Run:
    """The encoder's output, and the logits after each of TOKENS, teacher-forced."""
    answer = eager(**inputs, decoder_input_ids=torch.tensor([TOKENS]), use_cache=False)
    hidden = {
        "last_hidden_state": answer.encoder_last_hidden_state,
        "encoder_last_hidden_state": answer.encoder_last_hidden_state,
    }
    return dataclasses.replace(run(entry, inputs, hidden), tokens=TOKENS, logits=to_numpy(answer.logits[0]))


def text_runs(eager: nn.Module, batch: int) -> list[Run]:
    return [answered(eager, entry_name("encode", length), padded(1, length)) for length in LENGTHS]


def audio_runs(eager: nn.Module, batch: int) -> list[Run]:
    return [answered(eager, "encode", {"input_features": random(1, MELS, 2 * FRAMES)})]


def recipe(cls: str, made: Callable[[], Any], runs: Any, lengths: tuple[int, ...] = ()) -> Recipe:
    return Recipe(made, cls, runs, (), lengths, batches=(1,))


WHISPER = {"num_mel_bins": MELS, "max_source_positions": FRAMES, "max_target_positions": 32}
RECIPES = {
    "t5": recipe("T5ForConditionalGeneration", config("T5Config", **T5), text_runs, LENGTHS),
    "t5_gated": recipe(
        "T5ForConditionalGeneration",
        config("T5Config", **T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False), text_runs, LENGTHS,
    ),
    "bart": recipe(
        "BartForConditionalGeneration", config("BartConfig", **SIZES, max_position_embeddings=40), text_runs, LENGTHS
    ),
    "whisper": recipe("WhisperForConditionalGeneration", config("WhisperConfig", **SIZES, **WHISPER), audio_runs),
}  # fmt: skip
