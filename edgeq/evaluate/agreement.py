"""How closely one model follows another on the same text: KL divergence and equal first choices, teacher-forced."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edgeq.evaluate.perplexity import negative_log_likelihood
from edgeq.evaluate.windows import Logits, Progress, cut, log_probabilities


@dataclass(frozen=True)
class Agreement:
    """What `candidate` makes of a text beside `original`.

    Attributes:
        kl: mean KL(original || candidate) a token, nats. kl_99: its 99th percentile.
        top1: share of tokens whose likeliest continuation is the same.
        perplexity: candidate's. original_perplexity: original's, on the same tokens.
        tokens: compared tokens.
    """

    kl: float
    kl_99: float
    top1: float
    perplexity: float
    original_perplexity: float
    tokens: int


def agreement(
    candidate: Logits,
    original: Logits,
    tokens: list[int],
    bos: int | None,
    window: int = 512,
    windows: int | None = None,
    progress: Progress | None = None,
) -> Agreement:
    """Compare on the rows that `perplexity` scores; arguments and errors as there."""
    parts = cut(tokens, bos, window, windows)
    shape = (len(parts.inputs), parts.scored)
    kl, same, loss, original_loss = np.empty(shape), np.empty(shape, bool), np.empty(shape), np.empty(shape)
    for i, ids in enumerate(parts.inputs):
        a, b = (parts.rows(model(ids)) for model in (candidate, original))
        loss[i], original_loss[i] = (negative_log_likelihood(x, parts.targets(ids)) for x in (a, b))
        kl[i] = _divergence(b, a)
        same[i] = a.argmax(-1) == b.argmax(-1)
        if progress:
            progress("compare with the original", i + 1, len(parts.inputs))
    means = math.exp(loss.mean()), math.exp(original_loss.mean())
    return Agreement(float(kl.mean()), float(np.quantile(kl, 0.99)), float(same.mean()), *means, kl.size)


def _divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """float64[T]: KL(softmax p || softmax q) of each row, a few rows at a time (float64 rows of a large vocabulary)."""
    out = np.empty(len(p))
    for i in range(0, len(p), 32):
        lp, lq = log_probabilities(p[i : i + 32]), log_probabilities(q[i : i + 32])
        out[i : i + 32] = (np.exp(lp) * (lp - lq)).sum(-1)
    return np.maximum(out, 0)
