"""`edgeq run` of a language model: one answer, or a conversation."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from edgeq.errors import UsageError

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact


def run(model: Artifact, options: dict[str, Any]) -> None:
    """Stream the answer to stdout, speeds to stderr; with --json one object of text and counts."""
    from edgeq.cli import talk

    system, raw = options["system"], options["raw"]
    if raw and system:
        raise UsageError("--system is part of the chat template, which --raw leaves out: give one of them")
    text = _prompt(options["prompt"], raw, options["as_json"])
    style = talk.Style(sampling(options), options["max_tokens"], options["stop"], system, raw)
    model.session  # noqa: B018  (opened before the first word, so that its errors come alone)
    if text is None:
        talk.chat(model, style)
    elif options["as_json"]:
        talk.answer_json(model, text, style)
    else:
        talk.answer(model, text, style)


def sampling(options: dict[str, Any]) -> Any:
    """How tokens are drawn."""
    from edgeq.runtime.sampling import Sampling

    return Sampling(options["temperature"], options["top_k"], options["top_p"], options["seed"])


def _prompt(given: str | None, raw: bool, as_json: bool) -> str | None:
    """The prompt's text; None when a chat should begin."""
    if given is None and sys.stdin.isatty():
        if raw or as_json:
            what = "--raw continues a text" if raw else "--json is of one answer"
            raise UsageError(f'{what}: give --prompt "...", or text on stdin')
        return None
    text = sys.stdin.read().strip() if given is None else given
    if not text:
        raise UsageError('no prompt: give --prompt "...", or text on stdin')
    return text
