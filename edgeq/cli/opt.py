"""`edgeq opt`: print or parse the IR, and run passes over it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.progress import reporting

EXAMPLES = (
    "edgeq opt demo:smollm2-135m -o build/smollm2.eqir",
    "edgeq opt build/smollm2.eqir -p quantize{bits=w4a8g128},merge-linears",
    "edgeq opt - -p 'add-cache{kv=i8,context=512},last-row' < build/smollm2.eqir",
    "edgeq opt demo:minilm -p smooth --calib notes.txt",
)


@click.command("opt", cls=Command, examples=EXAMPLES, short_help="Print, parse and transform the IR.")
@click.argument("source", metavar="FILE|MODEL")
@click.option("-p", "--pipeline", default="", help="Passes, comma separated: name{option=value}.")
@click.option("--calib", default="", metavar="DATA", help="What passes measure, as for `edgeq compile`.")
@click.option("--entry", default="", help="Entry of a model with several  [default: its first].")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write here, not to stdout.")
@json_option
def command(source: str, pipeline: str, calib: str, entry: str, output: Path | None, as_json: bool) -> None:
    """Read IR text from a FILE ("-": stdin) or import a MODEL, run passes, and print the IR."""
    text = _text_or_model(source)
    with reporting() as progress:
        progress("load the compiler", 0, 0)
        from edgeq.ir.opt import opt

        progress("read the graph and run passes", 0, 0)
        result = opt(text, pipeline, entry, calib)
    if output is not None:
        _write(output, result)
        console.note(f"wrote {output}")
    if as_json:
        console.print_json({"pipeline": pipeline, "output": str(output) if output else None, "ir": result})
    elif output is None:
        click.echo(result)


def _text_or_model(source: str) -> str:
    if source == "-":
        return sys.stdin.read()
    path = Path(source)
    return path.read_text(encoding="utf-8") if path.is_file() and path.suffix != ".gguf" else source


def _write(path: Path, text: str) -> None:
    from edgeq.errors import OutputError

    try:
        path.write_text(text if text.endswith("\n") else text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
