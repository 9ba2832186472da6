"""`edgeq inspect`: what an artifact holds, read from its manifest; nothing is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeq.cli import console, describe
from edgeq.cli.command import Command, json_option

EXAMPLES = (
    "edgeq inspect build/smollm2",
    "edgeq inspect build/smollm2 --kernels",
    "edgeq inspect build/smollm2 --json",
)


@click.command("inspect", cls=Command, examples=EXAMPLES, short_help="Show what an artifact holds.")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--layers", is_flag=True, help="Every tensor: format, shape, bytes, offset.")
@click.option("--kernels", is_flag=True, help="Every kernel: calls, bytes, multiply-adds.")
@click.option("--memory", is_flag=True, help="The memory plan only.")
@json_option
def command(artifact: Path, layers: bool, kernels: bool, memory: bool, as_json: bool) -> None:
    """Show what ARTIFACT holds: layers, bits, bytes, kernels, entries, memory plan."""
    from edgeq.artifact.manifest import read

    manifest = read(artifact).to_json()
    if as_json:
        console.print_json({"path": str(artifact), **manifest})
        return
    chosen = [
        show(manifest)
        for wanted, show in (
            (layers, describe.layers_text),
            (kernels, describe.kernels_text),
            (memory, describe.memory_text),
        )
        if wanted
    ]
    click.echo("\n\n".join(chosen or overview(artifact, manifest)))


def overview(path: Path, manifest: dict[str, Any]) -> list[str]:
    """The sections shown when none is asked for."""
    parts = [
        describe.summary_text(describe.summary(path, manifest)),
        describe.storage_text(manifest),
        describe.entries_text(manifest),
        describe.variants_text(manifest),
        describe.memory_text(manifest),
    ]
    return [*parts, describe.declined_text(manifest)] if manifest["declined"] else parts
