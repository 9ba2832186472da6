"""`edgeq run` of masked language models: words for the masks of each text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgeq.cli import console
from edgeq.cli.run_classify import SHOWN, labels, sections
from edgeq.cli.run_inputs import count, say_time, texts, timed

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact


def run(model: Artifact, options: dict[str, Any]) -> None:
    """Print the likeliest words for each mask."""
    items = texts(model, options)
    task = model.model
    found, seconds = timed(lambda: task.fill(items, options["top_k"] or SHOWN))
    say_time(count(len(items), "text"), seconds)
    if options["as_json"]:
        results = [{"input": item, "masks": masks} for item, masks in zip(items, found, strict=True)]
        console.print_json({"results": results, "seconds": seconds})
    else:
        click.echo(sections(items, ["\n\n".join(labels(mask["labels"]) for mask in masks) for masks in found]))
