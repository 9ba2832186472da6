"""`edgeq targets`: what can be compiled for, and what this machine is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.table import megabytes, table

if TYPE_CHECKING:
    from edgeq.measure.machine import Machine
    from edgeq.targets import Target

EXAMPLES = (
    "edgeq targets",
    "edgeq targets --json",
    "edgeq compile demo:smollm2-135m --target x86-64 --bits w4a8 -o build/smollm2",
)


@click.command("targets", cls=Command, examples=EXAMPLES, short_help="List what can be compiled for.")
@json_option
def command(as_json: bool) -> None:
    """List what can be compiled for, with the instruction sets of each, and describe this machine."""
    report = describe()
    if as_json:
        console.print_json(report)
    else:
        click.echo(text(report))


def describe() -> dict[str, Any]:
    """The object that `edgeq targets --json` prints."""
    from edgeq import targets
    from edgeq.errors import UsageError
    from edgeq.measure.machine import this_machine

    machine = this_machine()
    try:
        native = targets.native_name()
    except UsageError:
        native = None
    known = [_target(targets.find(name), name == native, machine) for name in targets.names() if name != "native"]
    return {"native": native, "machine": _machine(machine), "targets": known}


def _target(target: Target, is_native: bool, machine: Machine) -> dict[str, Any]:
    variants = [
        {
            "name": isa.name,
            "needs": list(isa.needs),
            "runs_here": is_native and set(isa.needs) <= machine.features,
            "partial_to": isa.base,
        }
        for isa in target.every
    ]
    return {"name": target.name, "about": target.about, "native": is_native, "variants": variants}


def _machine(machine: Machine) -> dict[str, Any]:
    return {
        "cpu": machine.cpu,
        "arch": machine.arch,
        "system": machine.system,
        "cores": machine.cores,
        "memory_bytes": machine.memory_bytes,
        "cache_bytes": machine.cache_bytes,
        "features": sorted(machine.features),
    }


def text(report: dict[str, Any]) -> str:
    """The same for people."""
    parts = []
    for target in report["targets"]:
        mark = "  (native: this machine)" if target["native"] else ""
        rows = [
            (f"  {v['name']}", "yes" if v["runs_here"] else "no", " ".join(v["needs"]) or "nothing")
            for v in target["variants"]
        ]
        heading = f"{target['name']}{mark}\n  {target['about']}"
        parts.append(f"{heading}\n{table(('  variant', 'runs here', 'needs'), rows)}")
    machine = report["machine"]
    memory, cache = megabytes(machine["memory_bytes"]), megabytes(machine["cache_bytes"])
    where = f"{machine['cpu'] or 'unknown processor'}, {machine['cores']} cores, {memory} memory, {cache} cache"
    parts.append(f"this machine: {where} ({machine['system']} {machine['arch']})")
    if report["native"] is None:
        parts.append("--target native: no target for this machine")
    return "\n\n".join(parts)
