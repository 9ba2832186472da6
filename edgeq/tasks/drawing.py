"""Which token comes next in an encoder-decoder: what generation_config.json forbids or demands, then the draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeq.runtime.sampling import Sampling
from edgeq.tasks.scores import softmax

NEVER = -np.inf


def allowed(logits: np.ndarray, said: Sequence[int], prompt: int, rules: dict[str, Any]) -> np.ndarray:
    """The logits f32[vocab] with -inf for what must not come next.

    said: the decoder's tokens so far, of which the first `prompt` were given. rules: `task["generation"]`. The order
    and meaning of the rules are those of transformers' logits processors.
    """
    found = logits.astype(np.float32)
    forced = rules.get("forced_bos_token_id")
    if forced is not None and len(said) == 1:
        found[:] = NEVER
        found[forced] = 0.0
        return found
    found[_repeating(said, rules.get("no_repeat_ngram_size") or 0)] = NEVER
    if len(said) < (rules.get("min_length") or 0):
        found[rules.get("eos", [])] = NEVER
    if len(said) == prompt:
        found[rules.get("begin_suppress_tokens", [])] = NEVER
    found[rules.get("suppress_tokens", [])] = NEVER
    return found


def _repeating(said: Sequence[int], size: int) -> list[int]:
    """Tokens that would complete a run of `size` tokens said before."""
    if size < 1 or len(said) + 1 < size:
        return []
    tail = list(said[len(said) - size + 1 :])
    places = range(len(said) - size + 1)
    return [said[i + size - 1] for i in places if list(said[i : i + size - 1]) == tail]


def draw(logits: np.ndarray, sampling: Sampling, position: int) -> int:
    """A token: the likeliest at temperature 0, else drawn after top-k and top-p; depends on seed and position only."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    order = np.argsort(-logits, kind="stable")[: sampling.top_k or None]
    shares = softmax(logits[order] / np.float32(sampling.temperature))
    keep = int(np.searchsorted(np.cumsum(shares), sampling.top_p)) + 1 if sampling.top_p < 1 else len(shares)
    sums = np.cumsum(shares[:keep], dtype=np.float64)
    chance = np.random.default_rng((sampling.seed, position)).random() * sums[-1]
    return int(order[min(int(np.searchsorted(sums, chance, side="right")), keep - 1)])
