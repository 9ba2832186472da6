"""The text that a promise about perplexity is kept on: windows that neither passes nor sensitivities have measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeq.calibrate.data import Data
from edgeq.calibrate.sources import own_text
from edgeq.calibrate.tokens import Encoder, windows
from edgeq.errors import UsageError
from edgeq.evaluate.perplexity import negative_log_likelihood
from edgeq.evaluate.text import text_tokens
from edgeq.evaluate.windows import Logits, Windows, cut
from edgeq.frontend.source import Source

Progress = Callable[[str, int, int], None]
WINDOW, MOST_TOKENS = 512, 8192  # as edgeq eval; the whole of a file up to these


@dataclass(frozen=True)
class HeldOut:
    """Windows to score, as `edgeq eval` scores them: the second half of each. description: for people."""

    windows: Windows
    description: str

    @property
    def tokens(self) -> int:
        """Scored tokens."""
        return len(self.windows.inputs) * self.windows.scored


@dataclass(frozen=True)
class Increase:
    """How much higher the perplexity of one model is than another's, on the same tokens.

    Attributes:
        perplexity, original: of the artifact and of the float model.
        share: 0.02 is 2 % more. error: standard error of `share` over tokens (their losses are compared in pairs).
    """

    perplexity: float
    original: float
    share: float
    error: float


def held_out(source: Source, data: Data, file: str, context: int) -> HeldOut:
    """Windows of a file's text; of "", those of edgeq's own text that are not among `data`'s samples.

    Raises:
        UsageError: the file cannot be read or is shorter than a window, or nothing of edgeq's text is left.
    """
    if "tokenizer.json" not in source.assets:
        raise UsageError(f"perplexity is measured on text, and {source.name} came without a tokenizer.json")
    encoder = Encoder(source.assets)
    return _of_file(encoder, file, context) if file else _of_own(encoder, data, context)


def _of_file(encoder: Encoder, file: str, context: int) -> HeldOut:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--eval-text {file}: cannot be read as UTF-8 text ({error})") from error
    size = min(WINDOW, context)
    tokens, begin = text_tokens(encoder.plain, text)
    found = cut(tokens, begin, size, max(1, MOST_TOKENS // size))
    return HeldOut(found, f"{len(found.inputs)} windows of {size} tokens of {Path(file).name}")


def _of_own(encoder: Encoder, data: Data, context: int) -> HeldOut:
    """Windows are cut where calibration cuts them, so that one that was measured is known by its tokens."""
    measured = set(data.part.tokens)
    length = max(map(len, measured), default=WINDOW)
    size = min(length, context)
    every = windows(encoder, own_text(), length, MOST_TOKENS // length, data.seed)
    left = [ids[:size] for ids in every if len(ids) == length and tuple(ids) not in measured]
    left = left[: MOST_TOKENS // size]
    if not left:
        raise UsageError("nothing of edgeq's text is left to measure perplexity on: give --eval-text FILE")
    return HeldOut(Windows(left, size // 2), f"{len(left)} windows of {size} tokens of edgeq's text, held out")


def losses(logits: Logits, text: HeldOut, progress: Progress, stage: str) -> NDArray[np.float64]:
    """f64 `[windows, scored]`: nats that each token costs; raises ArtifactError for logits that are not finite."""
    parts = text.windows
    found = np.empty((len(parts.inputs), parts.scored))
    for i, ids in enumerate(parts.inputs):
        found[i] = negative_log_likelihood(parts.rows(logits(ids)), parts.targets(ids))
        progress(stage, i + 1, len(parts.inputs))
    return found


def increase(found: NDArray[np.float64], original: NDArray[np.float64]) -> Increase:
    """Of two models' losses on the same tokens."""
    more = found - original
    share = math.expm1(more.mean())
    error = (1 + share) * more.std(ddof=1) / math.sqrt(more.size)
    return Increase(math.exp(found.mean()), math.exp(original.mean()), share, float(error))
