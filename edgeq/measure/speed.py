"""Tokens a second of an open session: prefill, decode, time to the first token. No tokenization in any of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgeq.runtime.loader import Session


def prompt(vocab: int, count: int, seed: int = 0) -> np.ndarray:
    """i32[count]: seeded random tokens; speed does not depend on what they say."""
    return np.random.default_rng(seed).integers(0, vocab, count, dtype=np.int32)


def prefill_rate(session: Session, count: int) -> float:
    """Tokens a second of feeding `count` tokens to an empty context at once."""
    tokens = prompt(session.info.vocab, count)
    session.rewind(0)
    start = time.perf_counter()
    session.feed(tokens)
    return count / (time.perf_counter() - start)


def decode_rate(session: Session, count: int) -> float:
    """Tokens a second of feeding `count` tokens one by one, from an empty context on."""
    tokens = [[int(token)] for token in prompt(session.info.vocab, count)]
    session.rewind(0)
    start = time.perf_counter()
    for token in tokens:
        session.feed(token)
    return count / (time.perf_counter() - start)


def first_token_seconds(session: Session, count: int) -> float:
    """Seconds from a prompt of `count` tokens to the first sampled one."""
    tokens = prompt(session.info.vocab, count)
    session.rewind(0)
    start = time.perf_counter()
    session.feed(tokens)
    session.sample()
    return time.perf_counter() - start
