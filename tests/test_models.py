"""Every architecture through the whole road: the artifact's logits against Hugging Face's eager model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import frontend_zoo as zoo
import numpy as np
import pytest
import torch

from edgeq.compiling.compiler import Options, compile_into
from edgeq.measure.machine import this_machine
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session
from edgeq.targets import find

COMPILED = [
    "llama", "llama3", "llama_tied_biased", "llama_yarn", "smollm3", "qwen2", "qwen3", "gemma2", "gemma3", "mistral",
    "phi", "phi3", "phi3_partial", "opt", "gpt2", "gpt_neox_half", "gpt_neox_sequential", "starcoder2", "granite",
    "falcon",
]  # fmt: skip
LENGTH, CONTEXT, CHUNK = 40, 48, 16


def compiled(name: str, bits: str, folder: Path) -> tuple[torch.nn.Module, Session]:
    model = zoo.model(name)
    model.save_pretrained(folder / "model")
    out = folder / "artifact"
    out.mkdir()
    target = find("native")
    best = next(isa for isa in target.isas if set(isa.needs) <= set(this_machine().features))
    target = dataclasses.replace(target, isas=(best,))
    compile_into(out, Options(str(folder / "model"), target, Bits.parse(bits), CONTEXT, CHUNK), lambda *_: None)
    return model, Session(out, threads=2, verify=False)


def hugging_face(model: torch.nn.Module) -> np.ndarray:
    with torch.no_grad():
        return model(zoo.tokens(LENGTH), use_cache=False).logits[0].numpy()


@pytest.mark.parametrize("name", COMPILED)
def test_fp32_artifact_equals_hugging_face(name: str, tmp_path: Path) -> None:
    """Token by token, and in ragged chunks, which must give the same bits."""
    model, session = compiled(name, "fp32", tmp_path)
    want, tokens = hugging_face(model), zoo.tokens(LENGTH)[0].tolist()
    got = session.logits(tokens)
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
    for pieces in ((40,), (7, 22, 11), (1, 39)):
        session.rewind(0)
        for start, size in zip(np.cumsum((0, *pieces)), pieces, strict=False):
            session.feed(tokens[start : start + size])
        assert np.array_equal(session.last_logits(), got[-1])


@pytest.mark.parametrize("bits", ["w8a8", "w4a8g64a", "w4a16", "w8a16g32", "fp16", "w8a8kv8", "w4a8pchead4"])
def test_quantized_artifacts_stay_close(bits: str, tmp_path: Path) -> None:
    model, session = compiled("qwen3", bits, tmp_path)
    want, tokens = hugging_face(model), zoo.tokens(LENGTH)[0].tolist()
    got = session.logits(tokens)
    cosine = (got * want).sum() / np.sqrt((got * got).sum() * (want * want).sum())
    assert cosine > (0.999 if bits[0] != "w" or bits.startswith("w8") else 0.97)
    session.rewind(0)
    session.feed(tokens)
    assert np.array_equal(session.last_logits(), got[-1])
