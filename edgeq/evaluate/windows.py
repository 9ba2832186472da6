"""What a model is scored on: a text's tokens cut into windows, and the function that gives logits for one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import ArtifactError, UsageError

Logits = Callable[[list[int]], NDArray[np.floating]]
"""tokens [T], from an empty context -> logits [T, vocab]; row i is the prediction of token i + 1.

Only the last `T - T // 2` rows are looked at: a model to which rows cost may leave out earlier ones.
"""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Windows:
    """Windows of a text.

    Attributes:
        inputs: what the model sees: each window's tokens, the first replaced by `bos` if there is one.
        first: the first row that is scored; rows before it only give context.
    """

    inputs: list[list[int]]
    first: int

    @property
    def scored(self) -> int:
        """Predictions scored in each window."""
        return len(self.inputs[0]) - 1 - self.first

    def rows(self, logits: NDArray[np.floating]) -> NDArray[np.floating]:
        """The scored rows [scored, vocab] of a window's logits; raises ArtifactError when the model gave too few."""
        if len(logits) < self.scored + 1:
            raise ArtifactError(f"the model gave {len(logits)} rows of logits; scoring takes {self.scored + 1}")
        return logits[-self.scored - 1 : -1]

    def targets(self, window: list[int]) -> NDArray[np.int64]:
        """The tokens that rows `first .. -2` should have predicted."""
        return np.asarray(window[self.first + 1 :], np.int64)


def cut(tokens: list[int], bos: int | None, size: int = 512, limit: int | None = None) -> Windows:
    """Cut as llama-perplexity does: whole windows only, a rest is dropped; rows from `size // 2` on are scored.

    Raises UsageError when the text is shorter than one window.
    """
    if size < 4:
        raise UsageError(f"windows of {size} tokens are too short to score; use 4 or more")
    count = len(tokens) // size
    if not count:
        raise UsageError(f"the text has {len(tokens)} tokens, less than one window of {size}; give a longer text")
    windows = [list(tokens[i * size : (i + 1) * size]) for i in range(min(count, limit or count))]
    if bos is not None:
        for window in windows:
            window[0] = bos
    return Windows(windows, size // 2)


def log_probabilities(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """float64[T, vocab]: log of the softmax of each row."""
    x = logits.astype(np.float64)
    x -= x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
