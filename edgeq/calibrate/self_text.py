"""Calibration text that the model writes itself (LLM-QAT, arXiv 2305.17888): no data is needed, and it fits the model.

The model is compiled as w8a8 without calibration into a temporary folder and sampled from. Artifacts give the same bits
on every CPU, so that the same seed gives the same text anywhere.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgeq.calibrate.tokens import Encoder
from edgeq.errors import UsageError

if TYPE_CHECKING:
    from edgeq.frontend.source import Source
    from edgeq.runtime.loader import Session

Progress = Callable[[str, int, int], None]
BITS = "w8a8"
GREEDY = 4  # tokens after the first that are the likeliest ones; the rest is drawn
STAGE = "generate calibration text"


def generated(source: Source, seed: int, count: int, length: int, progress: Progress) -> list[list[int]]:
    """`count` texts of `length` token ids each, reproducible by `seed`.

    A text begins with the tokenizer's begin token (if it has one) and a token drawn from the vocabulary; one that the
    model ends before `length` is followed by another.

    Raises:
        UsageError: a model that generates no text by itself.
    """
    from edgeq.frontend.classes import is_decoder_only

    if not is_decoder_only(source.config):
        raise UsageError(
            f"--calib self: {source.name} generates no text by itself; give a text, a folder of images, or `none`"
        )
    encoder = Encoder(source.assets) if "tokenizer.json" in source.assets else None
    begin, stops = (None, frozenset[int]()) if encoder is None else (encoder.begin, encoder.stop_tokens)
    with (
        tempfile.TemporaryDirectory(prefix="edgeq-") as folder,
        _session(source, Path(folder), length, progress) as session,
    ):
        drawn = _Writer(session, begin, stops, seed)
        texts = []
        for number in range(count):
            progress(STAGE, number, count)
            texts.append(drawn.text(number, length))
        return texts


def _session(source: Source, folder: Path, length: int, progress: Progress) -> Session:
    """The model compiled for this machine, context `length`; only what running it needs is written."""
    from edgeq.frontend.entries import Shapes, load_entries
    from edgeq.lower.build import write_library, write_weights
    from edgeq.lower.lowering import lower_entries
    from edgeq.passes.pass_ import Context
    from edgeq.passes.pipeline import parse_pipeline
    from edgeq.runtime.loader import Session
    from edgeq.targets import find

    progress(f"compile the model to {STAGE[9:]} by", 0, 0)
    context = -(-length // 16) * 16
    entries = load_entries(source, Shapes())
    for step in parse_pipeline(f"add-cache{{context={context}}},last-row,quantize{{bits={BITS}}},merge-linears"):
        step(entries[0].gm, Context(source.weights))
    plan, table = lower_entries(entries, source.weights, context, 16)
    info, _ = write_weights(table, folder, progress)
    write_library(plan, find("native"), info, source.name, folder, progress)
    return Session(folder, verify=False)


class _Writer:
    """Writes one text after another; the text of a number depends on that number and the seed alone."""

    def __init__(self, session: Session, begin: int | None, stops: frozenset[int], seed: int) -> None:
        self._session, self._begin, self._stops, self._seed = session, begin, stops, seed

    def text(self, number: int, length: int) -> list[int]:
        """`length` token ids."""
        draw = random.Random(self._seed * 1_000_003 + number)
        ids: list[int] = []
        while len(ids) < length:
            ids += self._one(draw, length - len(ids))
        return ids

    def _one(self, draw: random.Random, most: int) -> list[int]:
        """At most `most` tokens, up to where the model ends its text."""
        from edgeq.runtime.sampling import Sampling

        session = self._session
        head = [] if self._begin is None else [self._begin]
        ids = [*head, draw.randrange(session.info.vocab)][:most]
        sampling = Sampling(temperature=1.0, seed=draw.randrange(2**31))
        session.rewind(0)
        session.feed(ids)
        while len(ids) < most:
            greedy = len(ids) <= len(head) + GREEDY
            token = session.sample(Sampling() if greedy else sampling)
            ids.append(token)
            if token in self._stops:
                break
            session.feed([token])
        return ids
