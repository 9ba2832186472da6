"""`edgeq package`: an artifact becomes one executable that needs nothing beside it, or a library for Android."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.progress import reporting

KINDS = ("program", "library")
EXAMPLES = (
    "edgeq package build/smollm2 -o smollm2",
    "edgeq package build/smollm2-arm64 -o app --overwrite --json",
    "edgeq package build/smollm2-arm64 --as library -o libsmollm2.so",
)


@click.command("package", cls=Command, examples=EXAMPLES, short_help="Make one executable or library of an artifact.")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File to make.")
@click.option("--as", "kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="What to make.")
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT if it is there.")
@json_option
def command(artifact: Path, output: Path, kind: str, overwrite: bool, as_json: bool) -> None:
    """Make one file of ARTIFACT for the machine it was compiled for.

    A program is static, its weights inside: it chats, embeds, classifies or segments in a terminal, and needs no
    library, no file and no /proc. A library (of artifacts for arm64) has the C API of edgeq.h, needs no other library,
    not even libc, and loads on Android too; its weights stay beside it.
    """
    if kind == "library":
        _library(artifact, output, overwrite, as_json)
    else:
        _program(artifact, output, overwrite, as_json)


def _program(artifact: Path, output: Path, overwrite: bool, as_json: bool) -> None:
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
    console.note(hint(made.target, f"{made.path if made.path.is_absolute() else f'./{made.path}'} {made.example}"))


def hint(target: str, call: str) -> str:
    """How to start a program that was made for `target`, here or elsewhere."""
    from edgeq.targets import runs_here

    if runs_here(target):
        return f"try: {call}"
    if target == "arm64":
        return f"copy it to an arm64 machine or phone, or try: qemu-aarch64 {call}"
    return f"copy it to a machine of {target}, then: {call}"


def _library(artifact: Path, output: Path, overwrite: bool, as_json: bool) -> None:
    with reporting() as progress:
        from edgeq.package.library import package_library

        made = package_library(artifact, output, overwrite, progress)
    if as_json:
        console.print_json(asdict(made) | {"path": str(made.path), "weights": str(made.weights)})
        return
    click.echo(
        f"{made.path}: library for {made.target} and Android, {made.total_bytes:,} bytes; "
        f"edgeq_open takes {made.weights} ({made.weights_bytes:,} bytes)"
    )
    console.note("see docs/android.md")
