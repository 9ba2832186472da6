"""Answers on stdout as they come, speeds on stderr; one answer, or a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from edgeq.cli import console
from edgeq.errors import ContextError

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact
    from edgeq.runtime.generate import Generation, Stats
    from edgeq.runtime.sampling import Sampling

HOW = "type a message; /clear forgets the conversation, /exit or Ctrl-D leaves, Ctrl-C stops an answer"


@dataclass(frozen=True)
class Style:
    """How to answer.

    Attributes:
        sampling: how tokens are drawn. max_tokens: None is up to the context's end. stop: texts that end an answer.
        system: system message, None for none. raw: continue the prompt without the chat template.
    """

    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    system: str | None = None
    raw: bool = False

    def opening(self) -> list[dict[str, str]]:
        """The messages that every conversation begins with."""
        return [{"role": "system", "content": self.system}] if self.system else []


def answer(model: Artifact, prompt: str, style: Style) -> None:
    """Stream one answer and say how fast it was. Raises ContextError when the prompt does not fit."""
    said = prompt if style.raw else [*style.opening(), {"role": "user", "content": prompt}]
    _, stats = _stream(model, said, style)
    _report(model, stats)


def answer_json(model: Artifact, prompt: str, style: Style) -> None:
    """One answer as a JSON object: `text`, why it ended, counts and speeds."""
    said = prompt if style.raw else [*style.opening(), {"role": "user", "content": prompt}]
    pieces = _generate(model, said, style)
    text, stats = pieces.text(), pieces.stats
    console.print_json({
        "text": text,
        "reason": stats.reason,
        "prompt_tokens": stats.prompt_tokens,
        "new_tokens": stats.new_tokens,
        "prompt_tokens_per_second": stats.prompt_tokens_per_second,
        "decode_tokens_per_second": stats.decode_tokens_per_second,
        "first_token_seconds": stats.first_token_seconds,
    })  # fmt: skip


def chat(model: Artifact, style: Style) -> None:
    """Talk until the user leaves; what the model has read already is not fed again."""
    console.note(HOW)
    messages = style.opening()
    while (line := _line()) is not None:
        if line == "/clear":
            messages = style.opening()
        elif line:
            messages = _turn(model, [*messages, {"role": "user", "content": line}], style)


def _line() -> str | None:
    """What the user typed, stripped; None to leave."""
    import readline  # noqa: F401  (input() then edits the line and remembers earlier ones)

    try:
        line = input("> ").strip()
    except EOFError:
        click.echo(err=True)
        return None
    return None if line == "/exit" else line


def _turn(model: Artifact, messages: list[dict[str, str]], style: Style) -> list[dict[str, str]]:
    """The conversation after one more answer; without the last message when there is no room for it."""
    try:
        text, stats = _stream(model, messages, style)
    except ContextError as error:
        console.error(f"{error}; /clear begins anew")
        return messages[:-1]
    except KeyboardInterrupt:
        click.echo()
        return messages[:-1]
    _report(model, stats)
    return [*messages, {"role": "assistant", "content": text}]


def _stream(model: Artifact, prompt: str | list[dict[str, str]], style: Style) -> tuple[str, Stats]:
    pieces = _generate(model, prompt, style)
    said = []
    for piece in pieces:
        said.append(piece)
        click.echo(piece, nl=False)
    click.echo()
    return "".join(said), pieces.stats


def _generate(model: Artifact, prompt: str | list[dict[str, str]], style: Style) -> Generation:
    return model.generate(prompt, max_new_tokens=style.max_tokens, sampling=style.sampling, stop=style.stop, reuse=True)


def speed(tokens_per_second: float) -> str:
    """With one decimal below 10, two below 1."""
    decimals = 2 if tokens_per_second < 1 else 1 if tokens_per_second < 10 else 0
    return f"{tokens_per_second:.{decimals}f} tok/s"


def _report(model: Artifact, stats: Stats) -> None:
    fed = stats.prompt_tokens - stats.reused_tokens
    drawn = f" at {speed(stats.decode_tokens_per_second)}" if stats.new_tokens > 1 else ""  # the first has none
    console.note(
        f"{fed} prompt tokens at {speed(stats.prompt_tokens_per_second)}, {stats.new_tokens} new{drawn}, "
        f"first after {stats.first_token_seconds * 1e3:.0f} ms"
    )
    if stats.reason == "context":
        console.note(f"stopped: the context of {model.session.info.context} tokens is full")
    elif stats.reason == "length":
        console.note(f"stopped after {stats.new_tokens} tokens, as --max-tokens says")
