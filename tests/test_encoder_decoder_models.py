"""BART, T5 and Whisper compiled: greedy tokens are transformers' own, whatever was encoded before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import static_zoo as zoo
import torch
from torch import nn
from zoo_compiled import compile_zoo, taken

from edgeq.errors import UsageError
from edgeq.runtime.loader import Session

NOISE = {"bart": 0.2, "t5": 0.4, "t5_gated": 0.2, "whisper": 0.2}  # on weights: tiny models repeat one token without
NEW = 20  # tokens; the context holds 32


def compiled(name: str, bits: str, folder: Path, noise: float = 0.0) -> tuple[nn.Module, Session]:
    eager = zoo.save(name, folder / "model")
    random = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for key, parameter in eager.named_parameters():
            if parameter.dim() == 2 and "decoder" in key:
                parameter.add_(torch.randn(parameter.shape, generator=random) * noise)
    eager.save_pretrained(folder / "model")
    return eager, compile_zoo(name, folder / "model", folder / "artifact", bits, (1,))


def generated(eager: nn.Module, run: zoo.Run) -> list[int]:
    """transformers' greedy tokens, the start token first; ends do not end it, so that all have one length."""
    given = {name: torch.from_numpy(value) for name, value in run.inputs.items()}
    given = {name: value if value.is_floating_point() else value.long() for name, value in given.items()}
    said = [int(eager.config.decoder_start_token_id)]
    with torch.no_grad():
        for _ in range(NEW):
            answer = eager(**given, decoder_input_ids=torch.tensor([said]), use_cache=False)
            said.append(int(answer.logits[0, -1].argmax()))
    return said


def greedy(session: Session, start: int) -> list[int]:
    """Tokens of the artifact, each fed as it is drawn."""
    said = [start]
    session.rewind(0)
    while len(said) <= NEW:
        session.feed(said[-1:])
        said.append(session.sample())
    return said


@pytest.mark.parametrize("name", NOISE)
def test_greedy_tokens_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """Texts shorter than their bucket, buckets in both orders: the caches hold what the last encoder left."""
    eager, session = compiled(name, "fp32", tmp_path, NOISE[name])
    runs = zoo.runs(name, eager)
    for run in (*runs, *reversed(runs)):
        session.run(run.entry, **taken(session, run))
        want = generated(eager, run)
        assert len(set(want)) > 3
        assert greedy(session, want[0]) == want


def test_transformers_generate_says_the_same(tmp_path: Path) -> None:
    eager, session = compiled("t5", "fp32", tmp_path, NOISE["t5"])
    run = zoo.runs("t5", eager)[1]
    session.run(run.entry, **taken(session, run))
    given = {name: torch.from_numpy(value).long() for name, value in run.inputs.items()}
    want = eager.generate(**given, max_new_tokens=NEW, do_sample=False)[0].tolist()
    assert greedy(session, want[0])[: len(want)] == want


@pytest.mark.parametrize("name, bits", [("bart", "w8a8kv8"), ("t5", "w4a16"), ("whisper", "fp16"), ("bart", "w8a16")])
def test_quantized_artifacts_stay_close(name: str, bits: str, tmp_path: Path) -> None:
    eager, session = compiled(name, bits, tmp_path)
    for run in zoo.runs(name, eager):
        session.run(run.entry, **taken(session, run))
        session.rewind(0)
        got, want = session.logits(run.tokens), run.logits
        cosine = (got * want).sum() / np.sqrt((got * got).sum() * (want * want).sum())
        assert cosine > (0.97 if bits.startswith("w4") else 0.999)


def test_decoding_needs_an_encoder_to_have_run(tmp_path: Path) -> None:
    _, session = compiled("bart", "fp32", tmp_path)
    with pytest.raises(UsageError, match="run"):
        session.feed([2])


def test_one_thread_or_two_give_the_same_bits(tmp_path: Path) -> None:
    eager, session = compiled("whisper", "w8a8", tmp_path)
    single = Session(tmp_path / "artifact", threads=1, verify=False)
    run = zoo.runs("whisper", eager)[0]
    for each in (session, single):
        each.run(run.entry, **taken(each, run))
    assert np.array_equal(session.logits(run.tokens), single.logits(run.tokens))
