"""`edgeq compile`: a Hugging Face model in, a folder that runs on the device out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.numbers import NUMBERS
from edgeq.cli.progress import reporting
from edgeq.errors import UsageError

EXAMPLES = (
    "edgeq compile demo:smollm2-135m --target native --bits w4a8 -o build/smollm2",
    "edgeq compile demo:smollm2-135m --recipe balanced --calib notes.txt -o build/smollm2",
    "edgeq compile Qwen/Qwen3-0.6B --bits w4a8g128kv8 --context 4096 -o build/qwen3",
    "edgeq compile demo:minilm --bits w8a8 --lengths 32,128 --batch 1,8 -o build/minilm",
    "edgeq compile demo:minilm --bits w8a8 --pass 'smooth{alpha=0.4,powers=false}' -o build/minilm",
    "edgeq compile demo:smollm2-135m --target-size 80MB -o build/small",
    "edgeq compile demo:smollm2-135m --max-ppl-increase 5% --target-latency 10ms/token -o build/close",
    "edgeq compile -c build/minilm/edgeq.json -o build/the-same",
)
RECIPE = "fast, balanced or best: passes that prepare the model  [default: by bits]."
CALIB = "Text, .jsonl, .parquet, folder of images, dataset; self; none  [default: a text of edgeq's]."
FORMATS = 'Weight formats of single linears, a JSON file: {"*.mlp.*": "w4g128"}.'

SIZE = "Most bytes of the whole folder; this and the next two choose a format for every layer."


def _formats(ctx: click.Context, option: click.Parameter, file: Path | None) -> dict[str, str] | None:
    from edgeq.compiling.config import read_formats

    return None if file is None else read_formats(file)


@click.command("compile", cls=Command, examples=EXAMPLES, short_help="Compile a model into a folder that runs.")
@click.argument("model", required=False)
@click.option("-c", "--config", type=click.Path(path_type=Path), help="Options of an artifact's edgeq.json, or a file.")
@click.option("--target", default="native", show_default=True, help="What to compile for; `edgeq targets` lists them.")
@click.option("--bits", default="", help="Weights, activations, KV cache: w4a8g64kv8  [default: w4a8, or codes kept].")
@click.option("--requantize", is_flag=True, help="Quantize again what a quantized checkpoint cannot keep.")
@click.option("--formats", type=click.Path(path_type=Path), callback=_formats, help=FORMATS)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--target-size", default="", metavar="60MB", help=SIZE)
@click.option("--max-ppl-increase", default="", metavar="2%", help="Most that perplexity may rise.")
@click.option("--target-latency", default="", metavar="5ms/token", help="Most that a token (or a run) may take.")
@click.option("--eval-text", default="", metavar="FILE", help="Measure perplexity on it  [default: text held out].")
@click.option("--recipe", default="", metavar="NAME", help=RECIPE)
@click.option("--pass", "passes", multiple=True, metavar="NAME{OPTION=VALUE}", help="A pass instead; repeat for more.")
@click.option("--calib", default="", metavar="DATA", help=CALIB)
@click.option("--calib-samples", type=click.IntRange(min=1), help="How many samples  [default: by recipe].")
@click.option("--calib-length", type=click.IntRange(min=1), help="Tokens of each  [default: by recipe].")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of what is drawn at random.")
@click.option("--context", default=2048, show_default=True, type=click.IntRange(min=1), help="Most tokens it can hold.")
@click.option("--chunk", default=256, show_default=True, type=click.IntRange(min=1), help="Rows of a prefill chunk.")
@click.option("--lengths", default="128", show_default=True, type=NUMBERS, help="Lengths of an encoder: 32,128.")
@click.option("--batch", default="1", show_default=True, type=NUMBERS, help="Batch sizes of an encoder.")
@click.option("--image-size", type=NUMBERS, help="HEIGHT,WIDTH of a vision model  [default: the model's].")
@click.option("--points", default=1, show_default=True, type=click.IntRange(min=1), help="Most points of a SAM prompt.")
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted compile to OUTPUT stopped measuring.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it is an artifact already.")
@click.option("--dry-run", is_flag=True, help="Predict size, time, memory and speed; read no weight, write nothing.")
@click.option("--measure-again", is_flag=True, help="With --dry-run: time this machine's kernels anew.")
@json_option
@click.pass_context
def command(
    ctx: click.Context, output: Path | None, config: Path | None, resume: bool, overwrite: bool, dry_run: bool,
    measure_again: bool, as_json: bool, **_: Any,
) -> None:  # fmt: skip
    """Compile MODEL: a local Hugging Face folder, a hub id, a GGUF file, or demo:NAME."""
    from edgeq.cli.budget_text import budget_text
    from edgeq.cli.describe import imports_text, summary, summary_text
    from edgeq.cli.run_kinds import example

    options = _given(ctx)
    if config is None and options.get("model") is None:
        raise UsageError("give a MODEL to compile, or -c FILE with the options of an earlier compile")
    if dry_run:
        return _dry_run(config, options, measure_again, as_json)
    if output is None:
        raise UsageError("give --output FOLDER, or --dry-run to predict without writing")
    if measure_again:
        raise UsageError("--measure-again times kernels for --dry-run: give both")
    start = time.monotonic()
    with _resumable(output), reporting() as progress:
        progress("load the compiler", 0, 0)
        import edgeq

        how: dict[str, Any] = {"output": output, "overwrite": overwrite, "resume": resume, "progress": progress}
        artifact = edgeq.compile(**options, **how) if config is None else edgeq.recompile(config, **how, **options)
    result = summary(artifact.path, artifact.manifest) | {"compile_seconds": time.monotonic() - start}
    result |= {"budget": artifact.manifest["budget"]} if artifact.manifest["budget"] else {}
    if as_json:
        console.print_json(result)
    else:
        click.echo(f"{summary_text(result)}{imports_text(artifact.manifest)}{budget_text(artifact.manifest)}")
        click.echo(f"compiled in {result['compile_seconds']:.1f} s")
        if line := example(artifact):
            console.note(f"try: {line}")


def _given(ctx: click.Context) -> dict[str, Any]:
    """Arguments of `edgeq.compile` that stand on the command line; the others have its defaults, or a config's."""
    ours = ("output", "config", "resume", "overwrite", "dry_run", "measure_again", "as_json")
    sources = {name: ctx.get_parameter_source(name) for name in ctx.params if name not in ours}
    return {name: ctx.params[name] for name, source in sources.items() if source is not ParameterSource.DEFAULT}


def _dry_run(config: Path | None, options: dict[str, Any], again: bool, as_json: bool) -> None:
    """Predict what the same command without --dry-run would do."""
    with reporting() as progress:
        progress("load the compiler", 0, 0)
        import edgeq
        from edgeq.cli.dry_run_text import dry_run_text

        found = edgeq.dry_run(config=config, again=again, progress=progress, **options)
    if as_json:
        console.print_json(found.to_json())
    else:
        click.echo(dry_run_text(found))


@contextmanager
def _resumable(output: Path) -> Iterator[None]:
    """After a failure: say how to go on, where something was kept."""
    try:
        yield
    except BaseException:
        from edgeq.artifact.resume import resume_folder

        if resume_folder(output).is_dir():
            console.note("what was measured is kept: the same command with --resume goes on from there")
        raise
