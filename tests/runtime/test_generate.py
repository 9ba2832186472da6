"""Generation ends for the right reason and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import write_byte_tokenizer
from toy_model import CONTEXT, Toy, build

from edgeq.errors import ContextError, UsageError
from edgeq.runtime.generate import generate
from edgeq.runtime.loader import Session
from edgeq.runtime.sampling import Sampling
from edgeq.runtime.tokens import Tokenizer

HOT = Sampling(temperature=200.0, seed=7)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Toy, Tokenizer]:
    folder: Path = tmp_path_factory.mktemp("generate")
    toy = build(folder, vocab=259)
    write_byte_tokenizer(folder)
    return toy, Tokenizer(folder)


@pytest.fixture
def session(model: tuple[Toy, Tokenizer]):
    with Session(model[0].folder, verify=False) as session:
        yield session


def greedy(toy: Toy, ids: list[int], count: int) -> list[int]:
    ids = list(ids)
    for _ in range(count):
        ids.append(int(toy.logits(ids).argmax()))
    return ids[-count:]


def test_greedy_tokens_are_the_argmax_of_each_position(model, session: Session):
    toy, tokenizer = model
    tokenizer.stop_tokens = frozenset()
    out = generate(session, tokenizer, "Once upon", max_new_tokens=12)
    text = out.text()
    ids = tokenizer.encode("Once upon")
    assert out.tokens == greedy(toy, ids, 12)
    assert text == tokenizer.decode(out.tokens)
    assert (out.stats.prompt_tokens, out.stats.new_tokens, out.stats.reason) == (9, 12, "length")
    assert session.tokens == (*ids, *out.tokens[:-1])


def test_it_stops_at_a_stop_token(model, session: Session):
    toy, tokenizer = model
    expected = greedy(toy, tokenizer.encode("abc"), 12)
    tokenizer.stop_tokens = frozenset({expected[4]})
    end = expected.index(expected[4]) + 1
    out = generate(session, tokenizer, "abc", max_new_tokens=12)
    assert out.text() == tokenizer.decode(expected[: end - 1])
    assert out.tokens == expected[:end]
    assert out.stats.reason == "eos"


def test_it_stops_at_a_stop_text(model, session: Session):
    _, tokenizer = model
    tokenizer.stop_tokens = frozenset()
    whole = generate(session, tokenizer, "abc", max_new_tokens=20, sampling=HOT).text()
    stop = whole[6:8]
    out = generate(session, tokenizer, "abc", max_new_tokens=20, sampling=HOT, stop=[stop])
    assert out.text() == whole[: whole.index(stop)]
    assert out.stats.reason == "stop"


def test_it_stops_when_the_context_is_full(model, session: Session):
    _, tokenizer = model
    tokenizer.stop_tokens = frozenset()
    out = generate(session, tokenizer, "a" * (CONTEXT - 3))
    out.text()
    assert (out.stats.reason, out.stats.new_tokens) == ("context", 4)
    out = generate(session, tokenizer, "a" * CONTEXT)
    out.text()
    assert (out.stats.reason, out.stats.new_tokens) == ("context", 1)


def test_prompts_that_cannot_be_fed(model, session: Session):
    _, tokenizer = model
    with pytest.raises(ContextError, match="the prompt has 65 tokens, the context holds 64"):
        generate(session, tokenizer, "a" * 65)
    with pytest.raises(UsageError, match="empty"):
        generate(session, tokenizer, "")
    with pytest.raises(UsageError, match="at least one"):
        generate(session, tokenizer, "a", max_new_tokens=0)


def test_the_same_seed_repeats_and_another_does_not(model, session: Session):
    _, tokenizer = model
    tokenizer.stop_tokens = frozenset()

    def tokens(seed: int) -> list[int]:
        out = generate(session, tokenizer, "x", max_new_tokens=20, sampling=Sampling(temperature=200.0, seed=seed))
        out.text()
        return out.tokens

    assert tokens(1) == tokens(1) != tokens(2)


def test_a_conversation_goes_on_without_feeding_its_past_again(model, session: Session):
    toy, tokenizer = model
    tokenizer.stop_tokens = frozenset()
    talk = [{"role": "user", "content": "a"}]
    first = generate(session, tokenizer, talk, max_new_tokens=3)
    first.text()
    talk = [*talk, {"role": "assistant", "content": ""}]
    ids = tokenizer.encode_chat(talk)
    shared = first.stats.prompt_tokens
    second = generate(session, tokenizer, talk, max_new_tokens=2, reuse=True)
    second.text()
    assert second.stats.reused_tokens >= shared
    assert second.tokens == greedy(toy, ids, 2)
    assert second.stats.prompt_tokens == len(ids)


def test_speeds_are_known_afterwards(model, session: Session):
    _, tokenizer = model
    out = generate(session, tokenizer, "abcdef", max_new_tokens=5)
    assert (out.stats.prompt_tokens_per_second, out.stats.decode_tokens_per_second) == (0, 0)
    out.text()
    assert out.stats.prompt_tokens_per_second > 0
    assert out.stats.decode_tokens_per_second > 0
    assert out.stats.first_token_seconds >= out.stats.prompt_seconds
    assert np.isfinite(out.stats.decode_tokens_per_second)
