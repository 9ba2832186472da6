"""`edgeq run` of two towers: which of the texts a photo shows; or embeddings of one side alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edgeq.cli import console
from edgeq.cli.run_classify import labels, sections
from edgeq.cli.run_embed import show
from edgeq.cli.run_inputs import count, say_time, texts, timed
from edgeq.errors import UsageError

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact


def run(model: Artifact, options: dict[str, Any]) -> None:
    """Texts and photos: probabilities; one of them: embeddings."""
    photos = list(options["images"])
    words = list(options["texts"]) if photos else texts(model, options)
    if photos and words:
        _zero_shot(model, photos, words, options)
        return
    task = model.model
    vectors, seconds = timed(lambda: task.embed_images(photos) if photos else task.embed(words))
    say_time(count(len(vectors), "image" if photos else "text"), seconds)
    show(photos or words, np.asarray(vectors), options, seconds)


def _zero_shot(model: Artifact, photos: list[str], words: list[str], options: dict[str, Any]) -> None:
    if options["output"]:
        raise UsageError("-o writes the embeddings of texts or of images: give one of --text and --image")
    task = model.model
    found, seconds = timed(lambda: task.classify(photos, words, options["top_k"]))
    say_time(f"{count(len(photos), 'image')}, {count(len(words), 'text')}", seconds)
    if options["as_json"]:
        results = [{"input": photo, "labels": answer} for photo, answer in zip(photos, found, strict=True)]
        console.print_json({"results": results, "seconds": seconds})
    else:
        click.echo(sections(photos, [labels(answer) for answer in found]))
