"""`edgeq run` of detectors: labelled boxes in the pixels of the photo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgeq.cli import console
from edgeq.cli.run_classify import sections
from edgeq.cli.run_inputs import count, say_time, timed

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact


def run(model: Artifact, options: dict[str, Any]) -> None:
    """Print what scores above --threshold in each photo."""
    photos = list(options["images"])
    task, limits = model.model, (options["threshold"], options["top_k"])
    found, seconds = timed(lambda: [task.detect(photo, *limits) for photo in photos])
    say_time(count(len(photos), "image"), seconds)
    if options["as_json"]:
        results = [{"input": photo, "objects": boxes} for photo, boxes in zip(photos, found, strict=True)]
        console.print_json({"results": results, "seconds": seconds})
        return
    click.echo(sections(photos, [_lines(boxes, limits[0]) for boxes in found]))


def _lines(boxes: list[dict[str, Any]], threshold: float) -> str:
    """A line an object: score, left, top, right, bottom, label."""
    if not boxes:
        return f"nothing scores above {threshold:g}"
    return "\n".join(
        f"{b['score']:7.4f}  " + " ".join(f"{value:7.1f}" for value in b["box"]) + f"  {b['label']}" for b in boxes
    )
