"""`edgeq package`: an artifact becomes one executable that needs nothing beside it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.progress import reporting

EXAMPLES = (
    "edgeq package build/smollm2 -o smollm2",
    'edgeq package build/smollm2-arm64 -o app && adb push app /data/local/tmp && adb shell /data/local/tmp/app "Hello"',
)


@click.command("package", cls=Command, examples=EXAMPLES, short_help="Make one executable of an artifact.")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to make.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it is there.")
@json_option
def command(artifact: Path, output: Path, overwrite: bool, as_json: bool) -> None:
    """Make one static executable of ARTIFACT, its weights inside, for the machine it was compiled for.

    It chats, embeds, classifies or segments in a terminal, and needs no library, no file and no /proc.
    """
    with reporting() as progress:
        from edgeq.package.package import package

        made = package(artifact, output, overwrite, progress)
    if as_json:
        console.print_json(asdict(made) | {"path": str(made.path)})
        return
    extra = made.total_bytes - made.weights_bytes
    click.echo(
        f"{made.path}: {made.kind} for {made.target}, {made.total_bytes:,} bytes "
        f"(weights {made.weights_bytes:,}, program and the rest {extra:,})"
    )
    console.note(f"try: {made.path if made.path.is_absolute() else f'./{made.path}'} {made.example}")
