"""Text from a model: the prompt is fed, then token after token is drawn, shown and fed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgeq.errors import ContextError, UsageError
from edgeq.runtime.chat import Message
from edgeq.runtime.loader import Session
from edgeq.runtime.sampling import Sampling
from edgeq.runtime.stream import TextStream
from edgeq.runtime.tokens import Tokenizer

WINDOW = 8  # tokens of a continued text that can matter to the text of the next one


@dataclass
class Stats:
    """Counts and times of a generation; complete when `reason` is set.

    Attributes:
        prompt_tokens: tokens of the prompt. reused_tokens: those that the session held already.
        new_tokens: tokens drawn, the stop token included.
        prompt_seconds: feeding the prompt. decode_seconds: feeding and drawing after the first token; the time that the
            caller takes between two pieces is not in it.
        first_token_seconds: from the call of `generate` (text still to be tokenized) to the first token drawn.
        reason: `eos` (a stop token), `stop` (a stop text), `length` (max_new_tokens) or `context` (it is full).
    """

    prompt_tokens: int = 0
    reused_tokens: int = 0
    new_tokens: int = 0
    prompt_seconds: float = 0.0
    decode_seconds: float = 0.0
    first_token_seconds: float = 0.0
    reason: str = ""

    @property
    def prompt_tokens_per_second(self) -> float:
        """Prefill speed; 0 before it is known."""
        return (self.prompt_tokens - self.reused_tokens) / self.prompt_seconds if self.prompt_seconds else 0.0

    @property
    def decode_tokens_per_second(self) -> float:
        """Decode speed; 0 before it is known."""
        return (self.new_tokens - 1) / self.decode_seconds if self.decode_seconds else 0.0


class Generation(Iterator[str]):
    """Pieces of text as they come. `tokens` are those drawn so far, `stats` how long it took and why it ended."""

    def __init__(self, pieces: Iterator[str], tokens: list[int], stats: Stats) -> None:
        self._pieces, self.tokens, self.stats = pieces, tokens, stats

    def __next__(self) -> str:
        return next(self._pieces)

    def text(self) -> str:
        """All that is still to come, as one string."""
        return "".join(self)


def generate(
    session: Session,
    tokenizer: Tokenizer,
    prompt: str | Sequence[Message],
    *,
    max_new_tokens: int | None = None,
    sampling: Sampling | None = None,
    stop: Sequence[str] = (),
    reuse: bool = False,
) -> Generation:
    """Continue a text, or answer a conversation.

    Args:
        session: rewound as far as needed; holds prompt and answer afterwards.
        tokenizer: of the same artifact.
        prompt: text to continue as it is, or messages, to which the chat template is applied.
        max_new_tokens: None: until the model stops or the context is full.
        sampling: greedy by default.
        stop: texts that end the answer; they are not shown.
        reuse: do not feed again what the session already holds of this prompt (the next turn of a conversation).

    Raises:
        ContextError: the prompt does not fit into the context.
        UsageError: an empty prompt, max_new_tokens below 1, or no chat template for messages.
    """
    stats = Stats()
    started = time.perf_counter()
    is_text = isinstance(prompt, str)
    ids = tokenizer.encode(prompt) if isinstance(prompt, str) else tokenizer.encode_chat(prompt)
    _check(len(ids), session.info.context, max_new_tokens)
    stats.prompt_tokens = len(ids)
    stats.reused_tokens = session.rewindable(_common(session.tokens, ids)) if reuse else 0
    stream = TextStream(tokenizer.decode, stop, ids[-WINDOW:] if is_text else ())
    tokens: list[int] = []
    drawn = _draw(session, ids, sampling or Sampling(), stats, started)
    return Generation(pieces(drawn, stream, tokens, tokenizer.stop_tokens, max_new_tokens, stats), tokens, stats)


def _check(count: int, context: int, max_new_tokens: int | None) -> None:
    if count == 0:
        raise UsageError("the prompt is empty")
    if count > context:
        raise ContextError(
            f"the prompt has {count} tokens, the context holds {context}: shorten it, or compile with a longer context"
        )
    if max_new_tokens is not None and max_new_tokens < 1:
        raise UsageError(f"{max_new_tokens} new tokens: ask for at least one")


def _common(old: Sequence[int], new: Sequence[int]) -> int:
    """Tokens at the start of `new` that need not be fed; at least the last one must be, for its logits."""
    count = 0
    while count < min(len(old), len(new) - 1) and old[count] == new[count]:
        count += 1
    return count


def _draw(session: Session, ids: list[int], sampling: Sampling, stats: Stats, started: float) -> Iterator[int]:
    """Tokens until the context is full."""
    begin = time.perf_counter()
    session.rewind(stats.reused_tokens)
    session.feed(ids[stats.reused_tokens :])
    stats.prompt_seconds = time.perf_counter() - begin
    token = session.sample(sampling)
    stats.first_token_seconds = time.perf_counter() - started
    context = session.info.context
    while True:
        stats.new_tokens += 1
        yield token
        if session.position == context:
            return
        begin = time.perf_counter()
        session.feed([token])
        token = session.sample(sampling)
        stats.decode_seconds += time.perf_counter() - begin


def pieces(
    drawn: Iterator[int],
    stream: TextStream,
    tokens: list[int],
    stop_tokens: frozenset[int],
    max_new_tokens: int | None,
    stats: Stats,
) -> Iterator[str]:
    """Text of drawn tokens until one ends it; fills `tokens` and, at the end, `stats.reason`."""
    reason = "context"
    for token in drawn:
        tokens.append(token)
        if token in stop_tokens:
            reason = "eos"
            break
        if piece := stream.push(token):
            yield piece
        if stream.stopped:
            reason = "stop"
            break
        if len(tokens) == max_new_tokens:
            reason = "length"
            break
    stats.reason = reason
    if rest := stream.finish():
        yield rest
