"""`edgeq devices`: list devices, describe and measure them, clean up after edgeq, lend one to a pool."""

from __future__ import annotations

from pathlib import Path

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.modelled_text import fit_lines
from edgeq.cli.progress import reporting

EXAMPLES = (
    "edgeq devices",
    "edgeq devices ssh://pi@raspberrypi.local",
    "edgeq devices adb --no-measure --json",
    "edgeq devices measure adb build/smollm2-arm64 -o phone.json",
    "edgeq devices serve adb --tracker 192.168.0.2:9190 --key pixel",
)

OTHERS = """others: ssh://[user@]host[:port], any machine that ssh reaches; adb[:serial], an Android device;
pool:[host:port/]name, lent by `edgeq devices serve`. `edgeq devices DEVICE` describes one."""


class Devices(click.Group):
    """A group whose first word may also be a device: `edgeq devices adb` describes it, `edgeq devices` lists."""

    examples = EXAMPLES
    format_epilog = Command.format_epilog

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put in the subcommand that is meant."""
        if args[:1] not in (["-h"], ["--help"]) and args[:1] != ["--"]:
            given = args[:1] and args[0] in self.commands
            named = any(not arg.startswith("-") for arg in args)
            args = args if given else ["describe" if named else "list", *args]
        return super().parse_args(ctx, args)


device_dir = click.option("--device-dir", help="Folder of edgeq's on the device; default: ~/.cache/edgeq/device there.")


@click.group(
    "devices",
    cls=Devices,
    subcommand_metavar="[DEVICE... | COMMAND [ARGS]...]",
    short_help="List, describe and measure devices.",
)
def command() -> None:
    """List the devices at hand, or describe and measure one.

    \b
    A DEVICE is local | qemu[:cpu] | ssh://[user@]host[:port] | adb[:serial] | pool:[host:port/]name
    """


@command.command("list", cls=Command, examples=("edgeq devices",))
@json_option
def list_(as_json: bool) -> None:
    """List what can be reached from here: this machine, emulators, Android devices, hosts of ~/.ssh/config."""
    from edgeq.devices.at_hand import at_hand

    found = at_hand()
    if as_json:
        console.print_json({"devices": [{"device": spec, "about": about} for spec, about in found]})
        return
    from edgeq.cli.table import table

    click.echo(table(("device", "about"), found))
    click.echo(f"\n{OTHERS}")


@command.command("describe", cls=Command, examples=EXAMPLES[1:3])
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE...")
@click.option("--no-measure", is_flag=True, help="Leave out read bandwidth and int8 peak, which take seconds.")
@device_dir
@json_option
def describe(devices: tuple[str, ...], no_measure: bool, device_dir: str | None, as_json: bool) -> None:
    """Describe each DEVICE: processor, features, memory, temperatures; measured read bandwidth and int8 peak."""
    from edgeq.cli.devices_text import text
    from edgeq.devices.device import open_device

    found = []
    for spec in devices:
        with reporting() as progress, open_device(spec, device_dir) as device:
            progress(f"describe {spec}", 0, 0)
            found.append(device.describe(measure=not no_measure))
    if as_json:
        console.print_json({"devices": [facts.to_json() for facts in found]})
        return
    click.echo("\n\n".join(map(text, found)))


@command.command("measure", cls=Command, examples=EXAMPLES[3:4])
@click.argument("device")
@click.argument("artifacts", nargs=-1, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@click.option("--brief", is_flag=True, help="2 s a measurement, stable or not.")
@click.option("--variant", help="Instruction-set variant; default: the best that can also be counted under emulation.")
@device_dir
def measure(
    device: str, artifacts: tuple[Path, ...], output: Path, brief: bool, variant: str | None, device_dir: str | None
) -> None:
    """Write what DEVICE is and does to a file: its facts, and a profile of each of ARTIFACTS on it, with one thread.

    The model of `edgeq profile --device qemu` is fitted to these, with the error of its predictions for each from the
    others: `--calibrated FILE` then predicts other artifacts on this device.
    """
    from edgeq.devices.measurement import measure_device, write
    from edgeq.modelled.measure import fitted, fitting_settings

    with reporting() as progress:
        found = measure_device(device, artifacts, brief, device_dir, progress, fitting_settings(variant))
        write(found, output)  # what follows needs other tools
        write(found := fitted(found, progress), output)
    console.note(f"wrote {output}")
    for line in fit_lines(found):
        console.note(line)


@command.command("clean", cls=Command, examples=("edgeq devices clean ssh://pi@raspberrypi.local",))
@click.argument("device")
@device_dir
def clean(device: str, device_dir: str | None) -> None:
    """Delete everything that edgeq has put on DEVICE: models and programs."""
    from edgeq.devices.device import open_device

    with open_device(device, device_dir) as opened:
        found = opened.clean()
    click.echo(f"deleted what edgeq had in {found.folder}: {found.bytes:,} bytes")


@command.command("serve", cls=Command, examples=EXAMPLES[4:])
@click.argument("device")
@click.option("--tracker", required=True, metavar="HOST:PORT", help="Of TVM's RPC tracker: python -m tvm.rpc.tracker.")
@click.option("--key", required=True, help="Name in the pool; devices of one kind share it, and the jobs for it.")
@device_dir
def serve(device: str, tracker: str, key: str, device_dir: str | None) -> None:
    """Lend DEVICE to a pool until interrupted: jobs for pool:KEY run on it, one after another."""
    from edgeq.devices.pool_server import serve as lend

    lend(device, tracker, key, device_dir, console.note)
