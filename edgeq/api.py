"""The verbs of the command line, from Python: `compile` and `recompile` make an artifact, `load` opens one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeq.artifact.folder import artifact_folder, check_output
from edgeq.artifact.resume import kept_work
from edgeq.errors import UsageError
from edgeq.runtime.artifact import Artifact

if TYPE_CHECKING:
    from edgeq.predict.dry_run import Prediction

__all__ = ["Artifact", "compile", "dry_run", "load", "recompile"]

Progress = Callable[[str, int, int], None]


def compile(
    model: str,
    target: str = "native",
    bits: str = "",
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
    *,
    recipe: str = "",
    passes: Sequence[str] = (),
    calib_samples: int = 0,
    calib_length: int = 0,
    seed: int = 0,
    resume: bool = False,
    formats: Mapping[str, str] | None = None,
    target_size: str = "",
    max_ppl_increase: str = "",
    target_latency: str = "",
    eval_text: str = "",
    requantize: bool = False,
) -> Artifact:
    """Compile a Hugging Face model into a folder that runs on `target` with nothing else installed.

    Args:
        model: a folder with safetensors, a hub id, a GGUF file, or `demo:smollm2-135m`.
        target: a name of `edgeq targets`.
        bits: the bits grammar, `w4a8g128kv8`; see docs/bits.md. "": w4a8, but a quantized checkpoint keeps its codes;
            `keepa16` keeps them with other activations (docs/imports.md).
        output: folder to make; it appears whole or not at all.
        context: most tokens (prompt and answer) that the artifact can hold; lowered to what the model was trained for.
        chunk: rows of one prefill chunk.
        overwrite: replace `output` when it is an artifact.
        revision: of a hub id.
        calib: what to measure activations on: a text, .jsonl or .parquet file, a folder of images or a dataset, "self",
            "none"; "" is a text that edgeq brings; see docs/calibration.md.
        lengths: tokens of a text encoder's entries: a text runs in the smallest that holds it.
        batch: examples that one run of an encoder or vision model takes: an entry for each.
        image_size: height and width of a vision model's input; None: what the model was made for.
        points: most points of a prompt, for promptable segmentation.
        progress: called with (stage, done, total), total 0 when unknown.
        recipe: "fast", "balanced" or "best": which passes prepare the model; "": balanced for a language model at 4
            bits, fast for others; see docs/recipes.md.
        passes: those passes, in order, instead of a recipe's: `("smooth{alpha=0.4}", "awq")`.
        calib_samples: how many samples are measured; 0: as many as the recipe says.
        calib_length: tokens of a sample for a language model; 0: as the recipe says.
        seed: of what is drawn at random.
        resume: go on where an interrupted compile to the same output stopped measuring.
        formats: weight formats of single linears, by Hugging Face name or pattern: `{"*.mlp.*": "w4g128"}`.
        target_size: "60MB": the most that the whole folder may take. A format is chosen for every layer, so that the
            promise is kept and damage is least; of `bits` activations and KV cache count. See docs/budgets.md.
        max_ppl_increase: "2%": the most that perplexity may rise above the float model's.
        target_latency: "5ms/token": the most that a token may take (a run, of a model that takes no tokens).
        eval_text: file to measure perplexity on; "": text that no pass measures.
        requantize: quantize again what a quantized checkpoint holds and cannot keep.

    Returns:
        The artifact, not yet loaded: nothing runs before its first use.

    Raises:
        EdgeqError: each subclass is one kind of fault, with one clear message; nothing is left behind but, after a
            longer measurement, what `resume` continues.
    """
    options = {
        "model": model, "target": target, "bits": bits, "context": context, "chunk": chunk, "revision": revision,
        "calib": calib, "lengths": lengths, "batch": batch, "image_size": image_size, "points": points,
        "recipe": recipe, "passes": passes, "calib_samples": calib_samples, "calib_length": calib_length, "seed": seed,
        "formats": formats, "target_size": target_size, "max_ppl_increase": max_ppl_increase,
        "target_latency": target_latency, "eval_text": eval_text, "requantize": requantize,
    }  # fmt: skip
    return _compile(options, Path(output), overwrite, resume, progress)


def recompile(
    config: str | Path,
    output: str | Path = "edgeq-out",
    overwrite: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
    **changes: Any,
) -> Artifact:
    """Compile with the options that an artifact was compiled with: the same files byte for byte.

    Args:
        config: its edgeq.json or folder, or a JSON object of `compile`'s arguments that somebody wrote.
        output, overwrite, resume, progress: as for `compile`.
        changes: arguments of `compile` to use instead of the recorded ones.

    Raises:
        UsageError: calibration data that is not what the recipe was measured on. Otherwise as `compile`.
    """
    from edgeq.compiling.config import merged, read_config

    return _compile(merged(read_config(Path(config)), changes), Path(output), overwrite, resume, progress)


def dry_run(
    model: str | None = None,
    *,
    config: str | Path | None = None,
    threads: int = 0,
    again: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> Prediction:
    """What a compile would give and take: bytes, seconds, memory, tokens a second; no weight is read.

    Args:
        model: as for `compile`; a folder that holds nothing but config.json will do.
        config: options of an earlier compile, as for `recompile`.
        threads: that speeds are of; 0 is one for each core this process may use.
        again: time this machine's kernels even where their times are known.
        progress: called with (stage, done, total).
        options: of `compile`, but for `output` and budgets.

    Raises:
        UsageError: a budget, which needs sensitivities (`edgeq pareto`). Otherwise as `compile`.
    """
    from edgeq.budget.goal import taken
    from edgeq.compiling.config import merged, read_config
    from edgeq.compiling.options import make_options
    from edgeq.compiling.refusals import refuse_without_kernel
    from edgeq.predict.dry_run import dry_run as predicted

    given = options if model is None else {"model": model, **options}
    given, goal = taken(given if config is None else merged(read_config(Path(config)), given))
    if goal:
        raise UsageError("a dry run predicts given formats; `edgeq pareto MODEL` shows what budgets lead to")
    made = make_options(**given)
    refuse_without_kernel(made)
    return predicted(made, threads, again, progress)


def _compile(given: dict[str, Any], output: Path, overwrite: bool, resume: bool, progress: Progress | None) -> Artifact:
    """Everything that can be refused without reading the model is refused before any work."""
    from edgeq.budget.goal import taken
    from edgeq.compiling.options import make_options

    given, goal = taken(given)
    if goal:  # formats are chosen: of a quantized checkpoint too
        given = {**given, "bits": given.get("bits") or "w4a8"}
    options = make_options(**given)
    check_output(output, overwrite)
    from edgeq.compiling.compiler import compile_into
    from edgeq.compiling.refusals import refuse_without_kernel

    refuse_without_kernel(options)
    say = progress or (lambda stage, done, total: None)
    with artifact_folder(output, overwrite) as folder, kept_work(output, resume) as journal:
        if goal:
            from edgeq.budget.fulfil import compile_within

            compile_within(folder, options, goal, say, journal)
        else:
            compile_into(folder, options, say, journal)
    return Artifact(output)


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
