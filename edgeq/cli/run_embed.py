"""`edgeq run` of encoders: a vector for one input, the similarity of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edgeq.cli import console
from edgeq.cli.run_inputs import count, say_time, texts, timed, write
from edgeq.errors import UsageError
from edgeq.tasks.embeddings import similarity

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact

SHOWN = 60  # characters of a text beside its row
MOST_SHOWN = 64  # rows of the matrix


def run(model: Artifact, options: dict[str, Any]) -> None:
    """Print embeddings or the similarity matrix; write them where -o says."""
    is_text = model.kind == "embedding"
    items = texts(model, options) if is_text else list(options["images"])
    if len(items) > MOST_SHOWN and not (options["output"] or options["as_json"]):
        raise UsageError(f"{len(items)} similarities a row would fill the terminal: write the vectors with -o FILE.npy")
    task = model.model
    vectors, seconds = timed(lambda: task.embed(items))
    if task.pooling.startswith("mean"):
        console.note(f"the model has no pooling head: a vector is the {task.pooling}")
    say_time(f"{count(len(items), 'text' if is_text else 'image')}, {vectors.shape[1]} dimensions", seconds)
    show(items, vectors, options, seconds)


def show(items: Sequence[str], vectors: np.ndarray, options: dict[str, Any], seconds: float) -> None:
    """One vector as numbers, several as cosines between them; with --json both."""
    if options["output"]:
        _save(options["output"], vectors)
    if options["as_json"]:
        result = {"inputs": list(items), "embeddings": vectors.tolist(), "similarity": similarity(vectors).tolist()}
        console.print_json(result | {"seconds": seconds})
    elif not options["output"]:
        click.echo(_numbers(vectors[0]) if len(items) == 1 else matrix(items, similarity(vectors)))


def _save(path: Path, vectors: np.ndarray) -> None:
    if path.suffix != ".npy":
        raise UsageError(f"-o {path}: embeddings are written as .npy (numpy, float32)")
    write(path, lambda part: np.save(part, vectors))
    console.note(f"wrote {path}: float32 [{vectors.shape[0]}, {vectors.shape[1]}]")


def _numbers(vector: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.6f}" for value in vector) + "]"


def matrix(items: Sequence[str], cosines: np.ndarray) -> str:
    """Cosines in rows and columns numbered as the inputs were given."""
    header = "".join(f"{i + 1:>8}" for i in range(cosines.shape[1]))
    rows = [
        "".join([f"{i + 1:>4}", *(f"{value:8.4f}" for value in row), "  ", _short(item)])
        for i, (item, row) in enumerate(zip(items, cosines, strict=True))
    ]
    return "\n".join([" " * 4 + header, *rows])


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
