"""`edgeq inspect`: what an artifact holds and what passes did to it, read from its files; nothing is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeq.cli import console, describe, describe_entries
from edgeq.cli.command import Command, json_option

EXAMPLES = (
    "edgeq inspect build/smollm2",
    "edgeq inspect build/smollm2 --kernels",
    "edgeq inspect build/minilm --entry text_128",
    "edgeq inspect build/smollm2 --passes",
    "edgeq inspect build/smollm2 --plot 'model.layers.0.*'",
    "edgeq inspect build/smollm2 --plot --plot-file ranges.svg",
    "edgeq inspect build/smollm2 --json",
)


@click.command("inspect", cls=Command, examples=EXAMPLES, short_help="Show what an artifact holds.")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--layers", is_flag=True, help="Every tensor: format, shape, bytes, offset.")
@click.option("--kernels", is_flag=True, help="Every kernel: calls, bytes, multiply-adds.")
@click.option("--memory", is_flag=True, help="The memory plan only.")
@click.option("--entry", metavar="NAME", help="One entry: its tensors, what was fused, and the kernels chosen.")
@click.option("--passes", is_flag=True, help="What every pass did at every site, or why it left one alone.")
@click.option(
    "--plot", metavar="[SITES]", is_flag=False, flag_value="*", help="Channel ranges before and after passes."
)
@click.option("--plot-file", metavar="FILE.svg", type=click.Path(path_type=Path), help="Draw them into a file instead.")
@json_option
def command(
    artifact: Path,
    layers: bool,
    kernels: bool,
    memory: bool,
    entry: str | None,
    passes: bool,
    plot: str | None,
    plot_file: Path | None,
    as_json: bool,
) -> None:
    """Show what ARTIFACT holds: layers, bits, bytes, kernels, entries, memory plan, and what passes did."""
    from edgeq.artifact.manifest import read

    manifest = read(artifact).to_json()
    if passes or plot is not None or plot_file:
        show_passes(artifact, manifest, passes, plot, plot_file, as_json)
        return
    asked = find_entry(manifest, entry) if entry is not None else None
    if as_json:
        console.print_json(asked or {"path": str(artifact), **manifest})
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
    if asked:
        chosen.append(describe_entries.entry_text(asked, manifest["kernels"]))
    click.echo("\n\n".join(chosen or overview(artifact, manifest)))


def show_passes(
    path: Path, manifest: dict[str, Any], listed: bool, glob: str | None, file: Path | None, as_json: bool
) -> None:
    """What passes did: as a list, as lines of blocks, as a drawing, as JSON."""
    from edgeq.artifact.passes_file import read_passes
    from edgeq.cli import passes_plot, passes_text
    from edgeq.errors import UsageError

    if file and file.suffix.lower() != ".svg":
        raise UsageError(f"--plot-file {file}: it writes SVG; name a file that ends in .svg")
    found = read_passes(path)
    drawn = passes_plot.plotted(found, glob or "*") if glob is not None or file else []
    if file:
        from edgeq.cli.passes_svg import write_svg

        write_svg(file, drawn, f"{manifest['model']} {manifest['bits']}: channel ranges before and after passes")
        console.note(f"{len(drawn)} activations drawn into {file}")
    if as_json:
        console.print_json(passes_text.passes_json(found, [] if listed else drawn))
        return
    parts = [passes_text.passes_text(found)] if listed else []
    parts += [passes_plot.plot_text(drawn)] if glob is not None and not file else []
    if parts:
        click.echo("\n\n".join(parts))


def overview(path: Path, manifest: dict[str, Any]) -> list[str]:
    """The sections shown when none is asked for."""
    parts = [
        describe.summary_text(describe.summary(path, manifest)),
        describe.storage_text(manifest),
        describe_entries.entries_text(manifest["entries"]),
        describe_entries.tensors_text(manifest["entries"]),
        describe.variants_text(manifest),
        describe.memory_text(manifest),
    ]
    declined = [describe.declined_text(manifest)] if manifest["declined"] else []
    return [part for part in (*parts, *declined) if part]


def find_entry(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """The entry of that name; raises UsageError, with the names that there are."""
    from edgeq.errors import UsageError

    found: list[dict[str, Any]] = [entry for entry in manifest["entries"] if entry["name"] == name]
    if not found:
        names = ", ".join(entry["name"] for entry in manifest["entries"])
        raise UsageError(f"no entry {name!r}; this artifact has {names}")
    return found[0]
