"""`edgeq compile`: a Hugging Face model in, a folder that runs on the device out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.numbers import NUMBERS
from edgeq.cli.progress import reporting
from edgeq.errors import UsageError

EXAMPLES = (
    "edgeq compile demo:smollm2-135m --target native --bits w4a8 -o build/smollm2",
    "edgeq compile Qwen/Qwen3-0.6B --bits w4a8g128kv8 --context 4096 -o build/qwen3",
    "edgeq compile ./my-llama --bits w8a8 -o build/my-llama --overwrite --json",
    "edgeq compile demo:minilm --bits w8a8 --lengths 32,128 --batch 1,8 -o build/minilm",
)


@click.command("compile", cls=Command, examples=EXAMPLES, short_help="Compile a model into a folder that runs.")
@click.argument("model")
@click.option("--target", default="native", show_default=True, help="What to compile for; `edgeq targets` lists them.")
@click.option("--bits", default="w4a8", show_default=True, help="Bits of weights, activations, KV cache: w4a8g64kv8.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder to make.")
@click.option("--context", default=2048, show_default=True, type=click.IntRange(min=1), help="Most tokens it can hold.")
@click.option("--chunk", default=256, show_default=True, type=click.IntRange(min=1), help="Rows of a prefill chunk.")
@click.option("--lengths", default="128", show_default=True, type=NUMBERS, help="Lengths of an encoder: 32,128.")
@click.option("--batch", default="1", show_default=True, type=NUMBERS, help="Batch sizes of an encoder.")
@click.option("--image-size", type=NUMBERS, help="HEIGHT,WIDTH of a vision model  [default: the model's].")
@click.option("--points", default=1, show_default=True, type=click.IntRange(min=1), help="Most points of a SAM prompt.")
@click.option("--revision", help="Branch, tag or commit of a hub id.")
@click.option("--calib", default="", metavar="FILE", help="Text to measure activations on; default: a sample; or none.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it is an artifact already.")
@json_option
def command(model: str, output: Path, as_json: bool, **options: Any) -> None:
    """Compile MODEL: a local Hugging Face folder, a hub id, a GGUF file, or demo:NAME."""
    from edgeq.cli.describe import summary, summary_text
    from edgeq.cli.run_kinds import example

    if options["image_size"] and len(options["image_size"]) != 2:
        raise UsageError("--image-size takes two numbers: HEIGHT,WIDTH")
    start = time.monotonic()
    with reporting() as progress:
        progress("load the compiler", 0, 0)
        import edgeq

        artifact = edgeq.compile(model, output=output, progress=progress, **options)
    result = summary(artifact.path, artifact.manifest) | {"compile_seconds": time.monotonic() - start}
    if as_json:
        console.print_json(result)
    else:
        click.echo(f"{summary_text(result)}\ncompiled in {result['compile_seconds']:.1f} s")
        if line := example(artifact):
            console.note(f"try: {line}")
