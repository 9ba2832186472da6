"""Perplexity by llama-perplexity's default protocol, so that figures can be put beside llama.cpp's.

The whole text is tokenized once and cut into windows of 512 tokens; if the tokenizer puts a begin token before a text,
it replaces the first token of each window (`text.text_tokens` finds out); the model sees each window from an empty
context; rows 256 to 510 are scored on the tokens that follow them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import ArtifactError
from edgeq.evaluate.windows import Logits, Progress, cut

if TYPE_CHECKING:
    from edgeq.runtime.loader import Session


@dataclass(frozen=True)
class Perplexity:
    """A measured perplexity.

    Attributes:
        perplexity: exp of the mean negative log-likelihood a token, in nats.
        error: standard error of `perplexity` over the scored tokens (llama-perplexity's `+/-`).
        tokens: scored tokens. windows: how many. window: tokens of each.
    """

    perplexity: float
    error: float
    tokens: int
    windows: int
    window: int


def perplexity(
    logits: Logits,
    tokens: list[int],
    bos: int | None,
    window: int = 512,
    windows: int | None = None,
    progress: Progress | None = None,
) -> Perplexity:
    """Perplexity of `logits` on a text's `tokens`.

    Args:
        logits: the model, see `Logits`.
        tokens, bos: what `text.text_tokens` gives; bos None leaves each window's first token as it is.
        window: tokens a window. windows: stop after as many; None: all that the text has.
        progress: called with ("score the text", windows done, windows).

    Raises UsageError when the text is too short, ArtifactError when the model returns NaN or infinity.
    """
    parts = cut(tokens, bos, window, windows)
    losses = np.empty((len(parts.inputs), parts.scored))
    for i, ids in enumerate(parts.inputs):
        losses[i] = negative_log_likelihood(parts.rows(logits(ids)), parts.targets(ids))
        if progress:
            progress("score the text", i + 1, len(parts.inputs))
    value = math.exp(losses.mean())
    error = value * losses.std(ddof=1) / math.sqrt(losses.size)
    return Perplexity(value, float(error), losses.size, len(parts.inputs), window)


def negative_log_likelihood(logits: NDArray[np.floating], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[T], nats: what each row of logits [T, vocab] loses on its target; sums run in float64."""
    top = logits.max(axis=-1, keepdims=True)
    total = np.exp((logits - top).astype(np.float32)).sum(axis=-1, dtype=np.float64)
    chosen = np.take_along_axis(logits, targets[:, None], axis=-1)
    loss = np.log(total) - (chosen - top)[:, 0]
    if not np.isfinite(loss).all():
        raise ArtifactError("the model's logits contain NaN or infinity; it cannot be scored")
    return loss


def second_half(session: Session) -> Logits:
    """An artifact as this protocol's model: the half of a window that is not scored goes through prefill, the other
    token by token through decode; logits f32[T - T // 2, vocab]."""

    def logits(tokens: list[int]) -> NDArray[np.float32]:
        session.rewind(0)
        session.feed(tokens[: len(tokens) // 2])
        return session.logits(tokens[len(tokens) // 2 :])

    return logits
