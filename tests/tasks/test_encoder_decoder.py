"""Generation equals transformers' greedy search; what the files forbid is not said; speech begins with its language."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from fakes import FakeDecoder, write_word_tokenizer
from transformers import BartConfig, BartForConditionalGeneration, T5Config, T5ForConditionalGeneration

from edgeq.errors import ArtifactError, UsageError
from edgeq.runtime.sampling import Sampling
from edgeq.tasks.describe import task_of
from edgeq.tasks.drawing import allowed, draw
from edgeq.tasks.models import open_model
from edgeq.tasks.prompt import opening

LENGTHS = (8, 16)
SMALL = {"vocab_size": 12, "d_model": 16, "pad_token_id": 0, "eos_token_id": 2}


def bart():
    config = BartConfig(
        **SMALL, bos_token_id=1, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, decoder_start_token_id=2,
        forced_eos_token_id=None, max_position_embeddings=32,
    )  # fmt: skip
    return BartForConditionalGeneration(config)


def t5():
    return T5ForConditionalGeneration(
        T5Config(**SMALL, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0)
    )


def opened(eager, folder, **rules):
    """The artifact's entries computed by the eager model; its decoder sees what the encoder saw last."""
    seen: dict[str, torch.Tensor] = {}

    def encode(length):
        def run(held):
            seen.update({n: torch.tensor(held[n]).long() for n in ("input_ids", "attention_mask")})
            return {"last_hidden_state": np.zeros((1, length, 16), np.float32)}

        return run

    @torch.no_grad()
    def logits(tokens):
        return eager(**seen, decoder_input_ids=torch.tensor([tokens])).logits[0, -1].numpy()

    entries = [
        {
            "name": f"encode_{n}",
            "length": n,
            "inputs": {"input_ids": (1, n), "attention_mask": (1, n)},
            "outputs": {"last_hidden_state": (1, n, 16)},
        }
        for n in LENGTHS
    ]
    task = task_of(eager.config, {"tokenizer.json": b"{}"}, [*entries, {"name": "decode", "kind": "token"}])
    task["generation"] |= rules
    session = FakeDecoder(logits, **{f"encode_{n}": encode(n) for n in LENGTHS})
    return open_model(session, task, write_word_tokenizer(folder)), session, seen


@pytest.mark.parametrize("make", [bart, t5])
@pytest.mark.parametrize(
    "rules",
    [{}, {"forced_bos_token_id": 5}, {"no_repeat_ngram_size": 2}, {"min_length": 9}, {"suppress_tokens": [4, 7]}],
)
def test_greedy_generation_is_transformers_s(make, rules, tmp_path):
    torch.manual_seed(1)
    eager = make().eval()
    with torch.no_grad():
        for weight in eager.parameters():
            weight.normal_(0, 0.6)
    model, _, seen = opened(eager, tmp_path, **rules)
    generation = model.generate("a b c", max_new_tokens=12)
    text = generation.text()
    expected = eager.generate(**seen, max_new_tokens=12, num_beams=1, do_sample=False, **rules)[0].tolist()
    assert generation.tokens == expected[1:]
    assert text == model._tokenizer.decode(expected)
    assert generation.stats.reason == ("eos" if expected[-1] == 2 else "length")
    assert generation.stats.prompt_tokens == 5


def words(*tokens: int):
    """A decoder that says these tokens whatever it heard."""
    return lambda fed: np.eye(12, dtype=np.float32)[tokens[min(len(fed) - 1, len(tokens) - 1)]]


def talker(folder, *tokens, context=32, **rules):
    task = {
        "kind": "encoder-decoder",
        "generation": {"start": 2, "eos": [2]} | rules,
        "text": {"max_length": None, "pad_id": 0, "full": False, "output": ""},
        "entries": [{"name": "encode_8", "length": 8, "inputs": {"input_ids": (1, 8)}, "outputs": {}}],
    }
    session = FakeDecoder(words(*tokens), context, encode_8=lambda held: {})
    return open_model(session, task, write_word_tokenizer(folder)), session


def test_it_ends_where_the_context_or_a_limit_ends(tmp_path):
    full = talker(tmp_path, 4, context=3)[0].generate("a")
    assert (full.text(), full.stats.reason) == ("a a a", "context")
    limited = talker(tmp_path, 4, max_length=5)[0].generate("a")
    assert (limited.text(), limited.stats.reason) == ("a a a a", "length")
    stopped = talker(tmp_path, 4, 5, 6)[0].generate("a", stop=["b"])
    assert (stopped.text().strip(), stopped.stats.reason) == ("a", "stop")


def test_a_second_text_begins_anew(tmp_path):
    model, session = talker(tmp_path, 4, 5, 2)
    assert model.generate("a").text() == model.generate("b").text() == "a b"
    assert session.fed[0] == 2
    assert session.names == ["encode_8", "encode_8"]


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused(tmp_path, text):
    with pytest.raises(UsageError, match="empty"):
        talker(tmp_path, 4)[0].generate(text)


def test_a_model_of_text_does_not_hear(tmp_path):
    with pytest.raises(UsageError, match="takes text"):
        talker(tmp_path, 4)[0].transcribe("x.wav")
    with pytest.raises(UsageError, match="at least one"):
        talker(tmp_path, 4)[0].generate("a", max_new_tokens=0)


def listener(folder, *tokens):
    audio = {"feature_size": 4, "sampling_rate": 100, "hop_length": 10, "n_fft": 20, "padding_value": 0.0, "frames": 6}
    task = {
        "kind": "encoder-decoder",
        "generation": {"start": 2, "eos": [2]},
        "audio": audio,
        "entries": [{"name": "encode", "inputs": {"input_features": (1, 4, 6)}, "outputs": {}}],
    }
    session = FakeDecoder(words(*tokens), encode=lambda held: {})
    return open_model(session, task, write_word_tokenizer(folder)), session


def test_sound_is_heard_window_by_window(tmp_path):
    model, session = listener(tmp_path, 4, 5, 2)
    heard = np.random.default_rng(0).normal(size=130).astype(np.float32)
    assert [part.text() for part in model.transcribe(heard)] == ["a b"] * 3
    assert [inputs["input_features"].shape for _, inputs in session.runs] == [(1, 4, 6)] * 3
    with pytest.raises(UsageError, match="empty"):
        model.transcribe(np.zeros(0, np.float32))
    with pytest.raises(UsageError, match="takes sound"):
        model.generate("a")


SPEECH = {
    "start": 1, "is_multilingual": True, "lang_to_id": {"<|en|>": 5, "<|de|>": 6},
    "task_to_id": {"transcribe": 7, "translate": 8}, "no_timestamps_token_id": 9,
}  # fmt: skip


def test_how_speech_begins():
    german = lambda tokens: np.eye(12)[6] if tokens == [1] else None  # noqa: E731
    assert opening(SPEECH, german) == [1, 6, 7, 9]
    assert opening(SPEECH, None, "en", "translate") == [1, 5, 8, 9]
    assert opening(SPEECH, None, "<|de|>") == [1, 6, 7, 9]
    assert opening({"start": 1, "no_timestamps_token_id": 9, "is_multilingual": False}, None) == [1, 9]
    assert opening({"start": 1, "forced_decoder_ids": [[1, 4], [2, 5]]}, None) == [1, 4, 5]
    for how in ({"language": "xx"}, {"language": "en", "task": "sing"}):
        with pytest.raises(UsageError, match="this model has"):
            opening(SPEECH, german, **how)
    with pytest.raises(UsageError, match="one language"):
        opening({"start": 1}, german, "en")
    with pytest.raises(ArtifactError, match="decoder_start_token_id"):
        opening({}, german)


def test_the_first_word_may_be_restricted():
    logits = np.arange(6, dtype=np.float32)
    rules = {"begin_suppress_tokens": [5], "suppress_tokens": [4]}
    assert allowed(logits, [1, 2], 2, rules).argmax() == 3
    assert allowed(logits, [1, 2, 0], 2, rules).argmax() == 5
    assert logits.tolist() == list(range(6))


def test_draws_follow_their_probabilities_and_the_seed():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    draws = lambda **how: [draw(logits, Sampling(1.0, seed=3, **how), i) for i in range(4000)]  # noqa: E731
    assert draws() == draws()
    shares = np.bincount(draws(), minlength=4) / 4000
    assert np.abs(shares - [0.5, 0.3, 0.15, 0.05]).max() < 0.03
    assert set(draws(top_k=2)) == {0, 1}
    assert set(draws(top_p=0.85)) == {0, 1, 2}
    assert set(draws(top_p=0.5)) == {0}
    assert draw(logits, Sampling(), 0) == 0
    assert len({draw(logits, Sampling(1.0, seed=seed), 7) for seed in range(50)}) > 1


def test_forbidden_tokens_are_never_drawn():
    logits = allowed(np.zeros(4, np.float32), [1], 1, {"suppress_tokens": [0, 2]})
    found = {draw(logits, Sampling(2.0, seed=s), p) for s, p in itertools.product(range(20), range(5))}
    assert found == {1, 3}
