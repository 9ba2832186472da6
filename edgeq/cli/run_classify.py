"""`edgeq run` of classifiers: labels with probabilities, of texts, of words, of photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from edgeq.cli import console
from edgeq.cli.run_inputs import count, say_time, texts, timed

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact

SHOWN = 5  # labels, unless --top-k says otherwise


def run(model: Artifact, options: dict[str, Any]) -> None:
    """Print the likeliest labels of each input."""
    by_token, is_text = model.kind == "token-classification", model.kind != "image-classification"
    items = texts(model, options) if is_text else list(options["images"])
    top_k = options["top_k"] or (1 if by_token else SHOWN)
    task = model.model
    found, seconds = timed(lambda: task.classify(items, top_k=top_k))
    say_time(count(len(items), "text" if is_text else "image"), seconds)
    key = "tokens" if by_token else "labels"
    if options["as_json"]:
        results = [{"input": item, key: answer} for item, answer in zip(items, found, strict=True)]
        console.print_json({"results": results, "seconds": seconds})
    else:
        click.echo(sections(items, [_tokens(answer) if by_token else labels(answer) for answer in found]))


def sections(items: Sequence[str], parts: Sequence[str]) -> str:
    """The answers, each under its input when there are several."""
    if len(items) == 1:
        return parts[0]
    return "\n\n".join(f"{item}\n{part}" for item, part in zip(items, parts, strict=True))


def labels(answer: Sequence[dict[str, Any]]) -> str:
    """A line a label: probability, name."""
    return "\n".join(f"{item['score']:7.4f}  {item['label']}" for item in answer)


def _tokens(answer: Sequence[dict[str, Any]]) -> str:
    width = max((len(token["text"]) for token in answer), default=0)
    return "\n".join(
        f"{token['start']:>5}-{token['end']:<5} {token['text']:<{width}}  "
        + "  ".join(f"{item['label']} {item['score']:.4f}" for item in token["labels"])
        for token in answer
    )
