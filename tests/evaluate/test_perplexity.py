from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from edgeq.errors import ArtifactError, UsageError
from edgeq.evaluate.perplexity import negative_log_likelihood, perplexity
from edgeq.evaluate.windows import cut

VOCAB = 11


def text(n: int) -> list[int]:
    return np.random.default_rng(0).integers(1, VOCAB, n).tolist()


def uniform(tokens: list[int]) -> np.ndarray:
    return np.full((len(tokens), VOCAB), 3.0, np.float32)


def successor(tokens: list[int]) -> np.ndarray:
    """Gives probability 1/2 to the token after the present one, the rest evenly."""
    p = np.full((len(tokens), VOCAB), 0.5 / (VOCAB - 1))
    p[np.arange(len(tokens)), (np.asarray(tokens) + 1) % VOCAB] = 0.5
    return np.log(p).astype(np.float32)


def test_a_model_that_knows_nothing_scores_the_size_of_its_vocabulary() -> None:
    result = perplexity(uniform, text(100), bos=0, window=16)
    assert result.perplexity == pytest.approx(VOCAB)
    assert (result.windows, result.tokens, result.error) == (6, 6 * 7, pytest.approx(0, abs=1e-9))


def test_a_known_probability() -> None:
    counting = [i % VOCAB for i in range(64)]
    assert perplexity(successor, counting, bos=None, window=32).perplexity == pytest.approx(2)


def test_windows_are_those_of_llama_perplexity() -> None:
    tokens = list(range(100, 150))
    windows = cut(tokens, bos=1, size=16)
    assert windows.inputs == [[1, *tokens[1:16]], [1, *tokens[17:32]], [1, *tokens[33:48]]]
    assert windows.first == 8 and windows.scored == 7
    assert windows.targets(windows.inputs[1]).tolist() == tokens[25:32]
    assert cut(tokens, bos=None, size=16).inputs[0] == tokens[:16]
    assert len(cut(tokens, bos=1, size=16, limit=2).inputs) == 2
    assert tokens[0] == 100  # the caller's list is not touched


def test_only_rows_of_the_second_half_count() -> None:
    def half_wrong(tokens: list[int]) -> np.ndarray:
        rows = successor(tokens)
        rows[: len(tokens) // 2] = rows[: len(tokens) // 2, ::-1] * 7
        rows[-1] = 0
        return rows

    counting = [i % VOCAB for i in range(64)]
    assert perplexity(half_wrong, counting, bos=None, window=32).perplexity == pytest.approx(2)
    assert perplexity(lambda t: half_wrong(t)[16:], counting, bos=None, window=32).perplexity == pytest.approx(2)


def test_loss_is_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, 50, generator=generator) * 20 + 1000
    targets = torch.randint(0, 50, (9,), generator=generator)
    expected = torch.nn.functional.cross_entropy(logits.double(), targets, reduction="none")
    assert np.allclose(negative_log_likelihood(logits.numpy(), targets.numpy()), expected.numpy(), rtol=1e-5, atol=1e-5)


def test_error_is_the_standard_error_of_the_perplexity() -> None:
    tokens = text(64)
    halves = tokens[:32], tokens[32:]
    losses = np.concatenate([negative_log_likelihood(successor(w)[16:-1], np.asarray(w[17:])) for w in halves])
    result = perplexity(successor, tokens, bos=None, window=32)
    assert result.perplexity == pytest.approx(math.exp(losses.mean()))
    assert result.error == pytest.approx(result.perplexity * losses.std(ddof=1) / math.sqrt(30))


def test_progress_counts_windows() -> None:
    seen: list[tuple[str, int, int]] = []
    perplexity(uniform, text(50), bos=0, window=16, progress=lambda *args: seen.append(args))
    assert [done for _, done, _ in seen] == [1, 2, 3] and {total for *_, total in seen} == {3}


def test_a_short_text_is_refused() -> None:
    with pytest.raises(UsageError, match="15 tokens, less than one window of 16"):
        perplexity(uniform, text(15), bos=0, window=16)
    with pytest.raises(UsageError, match="too short to score"):
        perplexity(uniform, text(15), bos=0, window=2)


def test_a_broken_model_is_not_scored() -> None:
    with pytest.raises(ArtifactError, match="NaN"):
        perplexity(lambda t: uniform(t) * np.float32("nan"), text(20), bos=0, window=16)
    with pytest.raises(ArtifactError, match="1 rows"):
        perplexity(lambda t: uniform(t)[-1:], text(20), bos=0, window=16)
