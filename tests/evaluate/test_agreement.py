from __future__ import annotations

import numpy as np
import pytest

from edgeq.evaluate.agreement import agreement

VOCAB = 9
TOKENS = np.random.default_rng(0).integers(0, VOCAB, 200).tolist()


def model(seed: int, noise: float = 0.0):
    table = np.random.default_rng(1).normal(size=(VOCAB, VOCAB)) * 2
    table = table + np.random.default_rng(seed).normal(size=table.shape) * noise
    return lambda tokens: table[np.asarray(tokens)].astype(np.float32)


def test_a_model_agrees_with_itself() -> None:
    same = agreement(model(0), model(0), TOKENS, bos=0, window=64)
    assert same.kl == same.kl_99 == 0 and same.top1 == 1
    assert same.perplexity == same.original_perplexity
    assert same.tokens == 3 * 31


def test_more_noise_agrees_less() -> None:
    near, far = (agreement(model(2, noise), model(0), TOKENS, bos=0, window=64) for noise in (0.1, 2.0))
    assert 0 < near.kl < far.kl and near.top1 > far.top1
    assert near.kl <= near.kl_99
    assert far.original_perplexity == near.original_perplexity != far.perplexity


def test_kl_of_two_known_distributions() -> None:
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.5, 0.25])
    result = agreement(
        lambda t: np.tile(np.log(q), (len(t), 1)), lambda t: np.tile(np.log(p) + 5, (len(t), 1)), [0] * 16, None, 16
    )
    assert result.kl == pytest.approx(0.25 * np.log(2))  # of original || candidate
    assert result.top1 == 0
    assert result.original_perplexity == pytest.approx(2) and result.perplexity == pytest.approx(4)
