"""One sequence: what is fed decides the logits, whatever the road."""

from __future__ import annotations

import numpy as np
import pytest
from toy_model import CHUNK, CONTEXT, Toy

from edgeq.errors import ContextError, EdgeqError, UsageError
from edgeq.runtime.loader import Session

TOKENS = [int(t) for t in np.random.default_rng(3).integers(0, 57, CONTEXT)]


@pytest.fixture
def session(toy: Toy):
    with Session(toy.folder) as session:
        yield session


@pytest.mark.parametrize("count", [1, 2, CHUNK, CHUNK + 1, 3 * CHUNK + 5, CONTEXT])
def test_feed_at_once_equals_one_by_one(toy: Toy, session: Session, count: int):
    session.feed(TOKENS[:count])
    assert session.position == count
    np.testing.assert_array_equal(session.last_logits(), toy.logits(TOKENS[:count]))
    session.rewind(0)
    rows = session.logits(TOKENS[:count])
    np.testing.assert_array_equal(rows[-1], toy.logits(TOKENS[:count]))
    np.testing.assert_array_equal(rows[0], toy.logits(TOKENS[:1]))


def test_rewind_forgets_the_rest_and_the_logits(toy: Toy, session: Session):
    session.feed(TOKENS[:20])
    session.rewind(11)
    with pytest.raises(UsageError, match="no logits"):
        session.last_logits()
    with pytest.raises(UsageError, match="no logits"):
        session.sample()
    session.feed([4, 5])
    np.testing.assert_array_equal(session.last_logits(), toy.logits([*TOKENS[:11], 4, 5]))
    with pytest.raises(UsageError, match="cannot rewind to 14"):
        session.rewind(14)


def test_rewind_to_where_it_stands_keeps_the_logits(toy: Toy, session: Session):
    session.feed(TOKENS[:3])
    session.rewind(3)
    np.testing.assert_array_equal(session.last_logits(), toy.logits(TOKENS[:3]))


def test_a_full_context_is_said_and_nothing_is_fed(toy: Toy, session: Session):
    session.feed(TOKENS[:-2])
    with pytest.raises(ContextError, match=f"holds {CONTEXT} tokens, {CONTEXT - 2} are fed and 3 more"):
        session.feed([1, 2, 3])
    assert session.position == CONTEXT - 2
    session.feed(TOKENS[-2:])
    np.testing.assert_array_equal(session.last_logits(), toy.logits(TOKENS))
    with pytest.raises(ContextError):
        session.feed([1])


@pytest.mark.parametrize("bad", [-1, 100, 2**40])
def test_a_token_outside_the_vocabulary_is_refused_before_anything_is_fed(session: Session, bad: int):
    with pytest.raises(UsageError, match=r"outside 0\.\.99"):
        session.feed([*TOKENS[: CHUNK + 3], bad])
    assert session.position == 0


@pytest.mark.parametrize("tokens", [[], [0.5], [[1, 2]]])
def test_what_is_not_a_list_of_tokens_is_refused(session: Session, tokens: list):
    with pytest.raises(UsageError):
        session.feed(tokens)


def test_a_closed_session_says_so(toy: Toy):
    session = Session(toy.folder)
    session.close()
    session.close()
    for use in (lambda: session.feed([1]), lambda: session.info, session.profile_start, session.arena):
        with pytest.raises(EdgeqError, match="closed"):
            use()


def test_facts(toy: Toy, session: Session):
    info = session.info
    assert (info.vocab, info.context, info.chunk) == (100, CONTEXT, CHUNK)
    assert info.weights_bytes == (toy.folder / "weights.safetensors").stat().st_size
    assert info.variant == "plain"
    assert [(e.name, e.max_rows, e.regions) for e in session.entries] == [("decode", 1, 3), ("prefill", CHUNK, 3)]


def test_two_models_and_two_contexts_at_once(toy: Toy, other: Toy):
    with Session(toy.folder) as a, Session(toy.folder) as b, Session(other.folder) as c:
        for token in TOKENS[:10]:
            a.feed([token])
            b.feed([token, 1])
            c.feed([token])
        np.testing.assert_array_equal(a.last_logits(), toy.logits(TOKENS[:10]))
        np.testing.assert_array_equal(b.last_logits(), toy.logits([t for x in TOKENS[:10] for t in (x, 1)]))
        np.testing.assert_array_equal(c.last_logits(), other.logits(TOKENS[:10]))
        np.testing.assert_array_equal(a.weights(), b.weights())
