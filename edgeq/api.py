"""The verbs of the command line, from Python: `compile` makes an artifact, `load` opens one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgeq.artifact.folder import artifact_folder, check_output
from edgeq.runtime.artifact import Artifact

if TYPE_CHECKING:
    from edgeq.compiler import Options
    from edgeq.frontend.interfaces import Shapes

__all__ = ["Artifact", "compile", "load"]

Progress = Callable[[str, int, int], None]


def compile(
    model: str,
    target: str = "native",
    bits: str = "w4a8",
    output: str | Path = "edgeq-out",
    context: int = 2048,
    chunk: int = 256,
    overwrite: bool = False,
    revision: str | None = None,
    calib: str = "",
    lengths: Sequence[int] = (128,),
    batch: Sequence[int] = (1,),
    image_size: tuple[int, int] | None = None,
    points: int = 1,
    progress: Progress | None = None,
) -> Artifact:
    """Compile a Hugging Face model into a folder that runs on `target` with nothing else installed.

    Args:
        model: a folder with safetensors, a hub id, a GGUF file, or `demo:smollm2-135m`.
        target: a name of `edgeq targets`.
        bits: the bits grammar, `w4a8g128kv8`; see docs/bits.md.
        output: folder to make; it appears whole or not at all.
        context: most tokens (prompt and answer) that the artifact can hold; lowered to what the model was trained for.
        chunk: rows of one prefill chunk.
        overwrite: replace `output` when it is an artifact.
        revision: of a hub id.
        calib: text file to measure activations on; "" is a short sample that edgeq brings, "none" measures nothing.
        lengths: tokens of a text encoder's entries: a text runs in the smallest that holds it.
        batch: examples that one run of an encoder or vision model takes: an entry for each.
        image_size: height and width of a vision model's input; None: what the model was made for.
        points: most points of a prompt, for promptable segmentation.
        progress: called with (stage, done, total), total 0 when unknown.

    Returns:
        The artifact, not yet loaded: nothing runs before its first use.

    Raises:
        EdgeqError: each subclass is one kind of fault, with one clear message; nothing is left behind.
    """
    shapes = _shapes(lengths, batch, image_size, points)
    options = _options(model, target, bits, context, chunk, revision, calib, shapes)
    check_output(Path(output), overwrite)
    from edgeq.compiler import compile_into

    with artifact_folder(Path(output), overwrite) as folder:
        compile_into(folder, options, progress or (lambda stage, done, total: None))
    return Artifact(Path(output))


def _options(
    model: str, target: str, bits: str, context: int, chunk: int, revision: str | None, calib: str, shapes: Shapes
) -> Options:
    """Everything that can be refused without reading the model is refused here, before anything large is imported."""
    from edgeq.errors import UsageError
    from edgeq.quant.bits import Bits
    from edgeq.targets import find

    for name, value in (("context", context), ("chunk", chunk)):
        if value < 1:
            raise UsageError(f"--{name} {value}: give at least 1")
    chosen, parsed = find(target), Bits.parse(bits)
    from edgeq.compiler import Options

    return Options(model, chosen, parsed, context, chunk, revision, calib, shapes)


def _shapes(lengths: Sequence[int], batch: Sequence[int], image_size: tuple[int, int] | None, points: int) -> Shapes:
    from edgeq.errors import UsageError

    given = (("lengths", lengths), ("batch", batch), ("image-size", image_size or (1,)), ("points", (points,)))
    for name, values in given:
        if not values or min(values) < 1:
            raise UsageError(f"--{name} {','.join(map(str, values))}: give numbers of at least 1")
    from edgeq.frontend.interfaces import Shapes

    return Shapes(tuple(sorted(set(batch))), tuple(sorted(set(lengths))), image_size, points)


def load(path: str | Path, threads: int = 0, variant: str | None = None) -> Artifact:
    """Open an artifact and check it.

    Args:
        path: the folder.
        threads: 0 is one for each core this process may use.
        variant: instruction-set variant to force; None is the best that this CPU runs.

    Raises:
        ArtifactError: damaged, incomplete, or of a newer schema. TargetError: made for another CPU.
    """
    artifact = Artifact(Path(path), threads, variant)
    artifact.session  # noqa: B018  (opens it now, so that errors come here)
    return artifact
