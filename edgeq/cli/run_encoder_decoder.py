"""`edgeq run` of encoder-decoders: text to text, or sound to text, streamed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from edgeq.cli import console
from edgeq.cli.run_chat import sampling
from edgeq.cli.run_kinds import takes
from edgeq.cli.talk import speed
from edgeq.errors import UsageError

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact
    from edgeq.runtime.generate import Generation, Stats


def run(model: Artifact, options: dict[str, Any]) -> None:
    """Stream to stdout, speeds to stderr; with --json one object of text and counts."""
    windows = [_window(generation, options["as_json"]) for generation in _generations(model, options)]
    if options["as_json"]:
        console.print_json({"text": " ".join(text.strip() for text in windows)})


def _window(generation: Generation, silent: bool) -> str:
    """The text of one encoded input, printed as it comes."""
    parts = []
    for piece in generation:
        parts.append(piece)
        if not silent:
            click.echo(piece, nl=False)
    if not silent:
        click.echo()
    _report(generation.stats)
    return "".join(parts)


def _generations(model: Artifact, options: dict[str, Any]) -> Iterator[Generation]:
    how = {"max_new_tokens": options["max_tokens"], "sampling": sampling(options)}
    if options["audio"]:
        task = "translate" if options["translate"] else None
        yield from model.transcribe(options["audio"], language=options["language"], task=task, **how)
    else:
        yield model.generate(_text(model, options), stop=options["stop"], **how)


def _text(model: Artifact, options: dict[str, Any]) -> str:
    given = list(options["texts"])
    if len(given) > 1:
        raise UsageError("give one --text: this model answers one text at a time")
    text: str = given[0] if given else "" if sys.stdin.isatty() else sys.stdin.read().strip()
    if not text:
        raise UsageError(f"nothing to run on: this is {takes(model)}")
    return text


def _report(stats: Stats) -> None:
    console.note(
        f"encoder {stats.prompt_seconds * 1e3:.0f} ms, {stats.new_tokens} tokens at "
        f"{speed(stats.decode_tokens_per_second)}, first after {stats.first_token_seconds * 1e3:.0f} ms"
    )
