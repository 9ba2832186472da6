"""Everything that `edgeq compile` is told, checked as far as it can be without reading the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeq.compiling.recipes import RECIPES
from edgeq.errors import UsageError
from edgeq.frontend.interfaces import Shapes
from edgeq.quant.bits import Bits
from edgeq.quant.format import WeightFormat
from edgeq.targets import Target, find

KEEP = "keep"  # in --bits: weights as a quantized checkpoint holds them


@dataclass(frozen=True)
class Resolved:
    """What a compile found out about its recipe: a later one takes it over instead of looking again.

    Attributes:
        passes: calibrated passes in order, every option spelt out.
        candidates: pipelines that `best` compared: `passes` and `damage`, least damage first.
        calibration: the manifest's record of the data: `hash`, `threads`, ...; empty when nothing was measured.
    """

    passes: tuple[str, ...]
    candidates: tuple[dict[str, Any], ...] = ()
    calibration: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """What to compile and how; `context` and `chunk` are most tokens in all and in one prefill chunk.

    Attributes:
        shapes: batch sizes, token lengths and image size that static entries are made for.
        calibration: where passes measure activations, as `--calib` takes it; "" is edgeq's own text, "none" nothing.
        recipe: a name of RECIPES, "": by what the model is and its bits. passes: calibrated passes instead of its own.
        samples, length: how much is measured, 0: as much as the recipe says. seed: of everything drawn at random.
        resolved: of an earlier compile that this one repeats.
        formats: weight formats of single linears, Hugging Face names or patterns -> `w4g64a`.
        weights: what a quantized checkpoint's weights become: "bits" as `bits` says, "kept" their codes, "default" the
            same where it is quantized at all. requantize: codes that cannot be kept may be quantized again.
    """

    model: str
    target: Target
    bits: Bits
    context: int
    chunk: int
    revision: str | None = None
    calibration: str = ""
    shapes: Shapes = field(default_factory=Shapes)
    recipe: str = ""
    passes: tuple[str, ...] = ()
    samples: int = 0
    length: int = 0
    seed: int = 0
    resolved: Resolved | None = None
    formats: Mapping[str, str] = field(default_factory=dict)
    weights: str = "bits"
    requantize: bool = False


def make_options(
    model: str,
    target: str = "native",
    bits: str = "",
    context: int = 2048,
    chunk: int = 256,
    revision: str | None = None,
    calib: str = "",
    lengths: Sequence[int] = (128,),
    batch: Sequence[int] = (1,),
    image_size: Sequence[int] | None = None,
    points: int = 1,
    recipe: str = "",
    passes: Sequence[str] = (),
    calib_samples: int = 0,
    calib_length: int = 0,
    seed: int = 0,
    resolved: Resolved | None = None,
    formats: Mapping[str, str] | None = None,
    requantize: bool = False,
) -> Options:
    """Options from what the command line and `edgeq.compile` take; raises UsageError for what means nothing.

    bits: `""` is w4a8, or the codes of a quantized checkpoint; `"keepa16kv8"` those codes with other activations.
    """
    _at_least(1, context=(context,), chunk=(chunk,), lengths=lengths, batch=batch, points=(points,))
    _at_least(0, calib_samples=(calib_samples,), calib_length=(calib_length,), seed=(seed,))
    size = _image_size(image_size)
    shapes = Shapes(tuple(sorted(set(batch))), tuple(sorted(set(lengths))), size, points)
    text, weights = _weights(bits)
    chosen, parsed = find(target), Bits.parse(text)
    return Options(
        model, chosen, parsed, context, chunk, revision, calib, shapes, _recipe(recipe, passes), _spelt(passes),
        calib_samples, calib_length, seed, resolved, _formats(formats or {}), weights, requantize,
    )  # fmt: skip


def record(options: Options) -> dict[str, Any]:
    """The arguments of `make_options` that give these options again, but for `resolved`: for edgeq.json."""
    shapes = options.shapes
    return {
        "model": options.model,
        "target": options.target.name,
        "bits": _said(options),
        "context": options.context,
        "chunk": options.chunk,
        "revision": options.revision,
        "calib": options.calibration,
        "lengths": list(shapes.lengths),
        "batch": list(shapes.batch),
        "image_size": list(shapes.image_size) if shapes.image_size else None,
        "points": shapes.points,
        "recipe": "" if options.passes else options.recipe,
        "passes": list(options.passes),
        "calib_samples": options.samples,
        "calib_length": options.length,
        "seed": options.seed,
        "formats": dict(options.formats),
        "requantize": options.requantize,
    }


def _said(options: Options) -> str:
    """What `--bits` said, in canonical text; "" where it was left out, which quantized checkpoints take as `keep`."""
    if options.weights == "default":
        return ""
    return KEEP + str(options.bits).removeprefix("w4") if options.weights == "kept" else str(options.bits)


def _weights(bits: str) -> tuple[str, str]:
    """(the bits grammar's text, `Options.weights`)."""
    plain = bits.strip().lower()
    if not plain:
        return "w4a8", "default"
    if plain.startswith(KEEP):
        return f"w4{plain.removeprefix(KEEP) or 'a8'}", "kept"
    return bits, "bits"


def _formats(given: Mapping[str, str]) -> dict[str, str]:
    """In canonical text; UsageError names the module whose format is unknown."""
    return {module: _format(module, text) for module, text in given.items()}


def _format(module: str, text: str) -> str:
    try:
        return str(WeightFormat.parse(text))
    except UsageError as error:
        raise UsageError(f"--formats {module}: {error}") from error


def _at_least(least: int, **given: Sequence[int]) -> None:
    for name, values in given.items():
        if not values or min(values) < least:
            numbers = "numbers of " if name in ("lengths", "batch") else ""
            said = ",".join(map(str, values))
            raise UsageError(f"--{name.replace('_', '-')} {said}: give {numbers}at least {least}")


def _image_size(given: Sequence[int] | None) -> tuple[int, int] | None:
    if given is None:
        return None
    if len(given) != 2 or min(given) < 1:
        said = ",".join(map(str, given))
        raise UsageError(f"--image-size {said}: give two numbers of at least 1: HEIGHT,WIDTH")
    return int(given[0]), int(given[1])


def _recipe(recipe: str, passes: Sequence[str]) -> str:
    if recipe and passes:
        raise UsageError("--recipe and --pass contradict each other: a recipe is a list of passes; give one of them")
    if recipe and recipe not in RECIPES:
        raise UsageError(f"--recipe {recipe!r} is not known; known: {', '.join(RECIPES)}")
    return recipe


def _spelt(passes: Sequence[str]) -> tuple[str, ...]:
    """Each pass with every option, so that a default that changes later changes nothing; refuses the compiler's own."""
    if not passes:
        return ()
    from edgeq.compiling.recipes import refuse_own
    from edgeq.passes.pipeline import parse_pipeline

    steps = [step for text in passes for step in parse_pipeline(text)]
    refuse_own(steps)
    return tuple(step.spelt() for step in steps)
