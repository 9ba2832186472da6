"""`edgeq run --entry`: any static entry of any model on arrays from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from edgeq.cli import console
from edgeq.cli.run_inputs import say_time, timed, write
from edgeq.errors import UsageError

if TYPE_CHECKING:
    from edgeq.runtime.artifact import Artifact

TAKES = {"entry", "inputs", "output", "as_json"}
KINDS = {"f": np.float32, "i": np.int32, "u": np.int32, "b": np.int32}  # the two types of tensors, docs/entries.md


def run(model: Artifact, options: dict[str, Any], given: set[str]) -> None:
    """Run the entry of --entry on the arrays of --input; print its outputs' shapes, write them where -o says."""
    strange = sorted(given - TAKES)
    if strange:
        raise UsageError("--entry runs on arrays: give --input NAME=FILE.npy and -o FILE.npz, and no other options")
    output: Path | None = options["output"]
    if output and output.suffix != ".npz":
        raise UsageError(f"-o {output}: the outputs of an entry are written as .npz")
    inputs = dict(_array(text) for text in options["inputs"])
    session, name = model.session, options["entry"]
    outputs: dict[str, Any]
    outputs, seconds = timed(lambda: session.run(name, **inputs))
    say_time(name, seconds)
    if output:
        write(output, lambda part: np.savez(part, **outputs))
    if options["as_json"]:
        shapes = {key: {"shape": list(array.shape), "dtype": str(array.dtype)} for key, array in outputs.items()}
        console.print_json({"entry": name, "outputs": shapes, "seconds": seconds})
        return
    for key, array in outputs.items():
        click.echo(
            f"{key}  {array.dtype}{list(array.shape)}  min {array.min():g}  mean {array.mean():g}  max {array.max():g}"
        )


def _array(text: str) -> tuple[str, Any]:
    """`NAME=FILE.npy`: the name, and the array as float32 or int32."""
    name, found, file = text.partition("=")
    if not found or not name or not file:
        raise UsageError(f"--input {text}: give NAME=FILE.npy, the name of a tensor and a file that numpy.save wrote")
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"--input {text}: cannot be read as .npy ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in KINDS:
        raise UsageError(f"--input {text}: neither numbers nor booleans")
    return name, _narrowed(array, text)


def _narrowed(array: np.ndarray, text: str) -> np.ndarray:
    found = array.astype(KINDS[array.dtype.kind])
    if array.dtype.kind in "iu" and not np.array_equal(found, array):
        raise UsageError(f"--input {text}: integers beyond 32 bits")
    return np.ascontiguousarray(found)
