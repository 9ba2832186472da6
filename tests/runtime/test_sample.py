"""Draws follow the distribution that temperature, top_k and top_p leave."""

from __future__ import annotations

import numpy as np
import pytest
from toy_model import CHUNK, CONTEXT, WIDTH, Toy

from edgeq.errors import EdgeqError, UsageError
from edgeq.runtime.loader import Session
from edgeq.runtime.sampling import Sampling

LOGITS = (CONTEXT + 2 * CHUNK) * WIDTH * 4
DRAWS = 20000


@pytest.fixture
def session(other: Toy):
    """A model that computes no argmax, so that its logits can be overwritten."""
    with Session(other.folder, threads=1) as session:
        session.feed([1])
        yield session


def write(session: Session, logits: np.ndarray) -> None:
    session.arena()[LOGITS : LOGITS + 4 * 57] = logits.astype(np.float32).view(np.uint8)


def expected(logits: np.ndarray, temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """Probabilities, as transformers' warpers leave them."""
    p = np.exp((logits - logits.max()) / temperature)
    order = np.argsort(-p, kind="stable")
    keep = np.zeros(len(p), bool)
    keep[order[: top_k or len(p)]] = True
    p = np.where(keep, p, 0) / p[keep].sum()
    before = np.cumsum(p[order]) - p[order]
    keep = np.zeros(len(p), bool)
    keep[order[before < top_p]] = True
    p = np.where(keep, p, 0)
    return p / p.sum()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1, 0, 1), (0.5, 0, 1), (2, 5, 1), (1, 0, 0.7), (1.3, 20, 0.9), (1, 1, 1), (1, 0, 1e-6), (3, 57, 0.999)],
)
def test_draws_follow_the_distribution(session: Session, temperature: float, top_k: int, top_p: float):
    logits = np.random.default_rng(0).normal(0, 2, 57).astype(np.float32)
    logits[10] = logits[30]
    write(session, logits)
    want = expected(logits.astype(np.float64), temperature, top_k, top_p)
    draws = [session.sample(Sampling(temperature, top_k, top_p, seed)) for seed in range(DRAWS)]
    counts = np.bincount(draws, minlength=57)
    assert (counts[want == 0] == 0).all()
    sigma = np.sqrt(DRAWS * want * (1 - want))
    assert (np.abs(counts - DRAWS * want) <= 5 * sigma + 1e-9).all()


def test_positions_draw_independently(other: Toy):
    """One seed, many positions: a flat distribution must come out flat and uncorrelated."""
    with Session(other.folder, threads=1) as session:
        draws = []
        for seed in range(100):
            session.rewind(0)
            for _ in range(CONTEXT):
                session.feed([0])
                write(session, np.zeros(57))
                draws.append(session.sample(Sampling(1.0, seed=seed)))
    counts = np.bincount(draws, minlength=57)
    mean = len(draws) / 57
    assert ((counts - mean) ** 2 / mean).sum() < 110  # chi-square, 56 degrees of freedom, p = 2e-5
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.06


def test_greedy_is_the_default_and_takes_the_lowest_of_equals(session: Session):
    logits = np.zeros(57)
    logits[[20, 40]] = 3
    write(session, logits)
    assert session.sample() == session.sample(Sampling(temperature=0, top_k=3, top_p=0.5)) == 20


def test_greedy_of_shares_takes_the_lowest_of_equals(toy: Toy):
    logits = toy.logits([1, 2])
    for threads in (1, 2, 3, 4):
        with Session(toy.folder, threads=threads, adapt=False) as session:
            session.feed([1])
            session.feed([2])
            assert session.sample() == logits.argmax()


def test_minus_infinity_is_never_drawn(session: Session):
    logits = np.full(57, -np.inf)
    logits[[3, 50]] = [1, 1]
    write(session, logits)
    assert {session.sample(Sampling(1.0, seed=s)) for s in range(50)} == {3, 50}


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_logits_that_are_no_numbers_are_an_error(session: Session, value: float):
    write(session, np.full(57, value))
    with pytest.raises(EdgeqError, match="not finite"):
        session.sample()


@pytest.mark.parametrize("bad", [Sampling(-1.0), Sampling(1, -2), Sampling(1, 0, 1.5), Sampling(float("nan"))])
def test_settings_that_mean_nothing(session: Session, bad: Sampling):
    with pytest.raises(UsageError, match="temperature and top_k"):
        session.sample(bad)


def test_a_small_temperature_is_nearly_greedy(session: Session):
    logits = np.arange(57.0)
    write(session, logits)
    assert {session.sample(Sampling(1e-30, seed=s)) for s in range(50)} == {56}
