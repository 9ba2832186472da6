"""Encoder-decoders: a text or a sound is encoded once, then the decoder speaks token after token."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.errors import UsageError
from edgeq.runtime.generate import Generation, Stats, pieces
from edgeq.runtime.loader import Session
from edgeq.runtime.sampling import Sampling
from edgeq.runtime.stream import TextStream
from edgeq.runtime.tokens import Tokenizer
from edgeq.tasks.drawing import allowed, draw
from edgeq.tasks.mel import log_mel
from edgeq.tasks.models import entries_of, section
from edgeq.tasks.prompt import opening
from edgeq.tasks.sound import samples
from edgeq.tasks.text import TextEntries

Sound = str | Path | np.ndarray


class EncoderDecoder:
    """Text to text (`generate`), or sound to text (`transcribe`)."""

    def __init__(self, session: Session, task: dict[str, Any], folder: Path) -> None:
        self._session, self._task, self._rules = session, task, task["generation"]
        self._tokenizer = Tokenizer(folder)
        self._texts: TextEntries | None = None
        if "text" in task:
            self._texts = TextEntries(session, folder, entries_of(task, "input_ids"), section(task, "text"))

    def generate(
        self,
        text: str,
        *,
        max_new_tokens: int | None = None,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
    ) -> Generation:
        """Stream what the decoder makes of a text: iterate over the result for pieces.

        Greedy unless `sampling` says otherwise; ends with the model's stop token, a text of `stop`, at most after
        `max_new_tokens` (default: what the model's generation_config.json says, else the context's end). A text beyond
        the longest bucket is cut, which the log says. Raises UsageError for a model that takes no text, or no text.
        """
        if self._texts is None:
            raise UsageError("this model takes sound, not text: transcribe it")
        stats, begin = Stats(), time.perf_counter()
        stats.prompt_tokens = self._encode_text(text)
        stats.prompt_seconds = time.perf_counter() - begin
        prompt = opening(self._rules, self._after)
        return self._speak(prompt, stats, begin, max_new_tokens, sampling or Sampling(), stop)

    def transcribe(
        self,
        sound: Sound,
        *,
        language: str | None = None,
        task: str | None = None,
        max_new_tokens: int | None = None,
        sampling: Sampling | None = None,
    ) -> Iterator[Generation]:
        """What is said in a sound, one Generation for each window of the model's length (30 s for Whisper).

        Args:
            sound: a WAV file, or f32[n] samples in -1..1 at the model's rate. language: of the sound; None lets the
                model tell. task: `transcribe` or `translate` (into English).

        Raises:
            UsageError: a model that takes no sound, an unreadable file, an unknown language.
        """
        if "audio" not in self._task:
            raise UsageError("this model takes text, not sound")
        spec = section(self._task, "audio")
        heard = samples(sound, spec["sampling_rate"])
        if not len(heard):
            raise UsageError("the sound is empty")
        window = spec["frames"] * spec["hop_length"]
        return (
            self._hear(heard[at : at + window], spec, (language, task), max_new_tokens, sampling or Sampling())
            for at in range(0, len(heard), window)
        )

    def _hear(
        self, heard: np.ndarray, spec: dict[str, Any], how: tuple[Any, Any], most: int | None, sampling: Sampling
    ) -> Generation:
        stats, begin = Stats(), time.perf_counter()
        features = log_mel(
            heard, spec["feature_size"], spec["frames"], spec["sampling_rate"], spec["hop_length"], spec["n_fft"],
            spec["padding_value"],
        )  # fmt: skip
        self._session.run(entries_of(self._task, "input_features")[0].name, input_features=features[None])
        stats.prompt_tokens, stats.prompt_seconds = spec["frames"], time.perf_counter() - begin
        prompt = opening(self._rules, self._after, *how)
        return self._speak(prompt, stats, begin, most, sampling, ())

    def _encode_text(self, text: str) -> int:
        """Run the encoder's smallest bucket that holds the text; gives the number of its tokens."""
        assert self._texts is not None
        if not text.strip():
            raise UsageError("the text is empty")
        (row,) = self._texts.run([text])
        return len(row.tokens.ids)

    def _after(self, tokens: Sequence[int]) -> np.ndarray:
        """Logits f32[vocab] after the decoder read `tokens` from its beginning."""
        self._session.rewind(0)
        self._session.feed(tokens)
        return self._session.last_logits()

    def _speak(
        self, prompt: list[int], stats: Stats, begin: float, most: int | None, sampling: Sampling, stop: Sequence[str]
    ) -> Generation:
        if most is not None and most < 1:
            raise UsageError(f"{most} new tokens: ask for at least one")
        given = self._rules.get("max_new_tokens") or max((self._rules.get("max_length") or 0) - len(prompt), 0)
        tokens: list[int] = []
        stream = TextStream(self._tokenizer.decode, stop)
        ends = self._tokenizer.stop_tokens | frozenset(self._rules.get("eos", ()))
        drawn = self._draw(prompt, sampling, stats, begin)
        return Generation(pieces(drawn, stream, tokens, ends, most or given or None, stats), tokens, stats)

    def _draw(self, prompt: list[int], sampling: Sampling, stats: Stats, begin: float) -> Iterator[int]:
        """Tokens until the context is full; the encoder has run, and nothing else may run meanwhile."""
        said = list(prompt)
        logits = self._after(said)
        context = self._session.info.context
        while True:
            token = draw(allowed(logits, said, len(prompt), self._rules), sampling, len(said))
            said.append(token)
            stats.first_token_seconds = stats.first_token_seconds or time.perf_counter() - begin
            stats.new_tokens += 1
            yield token
            if self._session.position == context:
                return
            start = time.perf_counter()
            self._session.feed([token])
            logits = self._session.last_logits()
            stats.decode_seconds += time.perf_counter() - start
