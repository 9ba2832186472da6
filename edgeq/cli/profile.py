"""`edgeq profile`: how fast an artifact is on a device, and where its time goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeq.cli import console
from edgeq.cli.command import Command, json_option
from edgeq.cli.progress import reporting
from edgeq.cli.table import megabytes, table

if TYPE_CHECKING:
    from edgeq.cli.progress import Report
    from edgeq.measure.profile import Settings

EXAMPLES = (
    "edgeq profile build/smollm2",
    "edgeq profile build/smollm2 --prefill 512,128 --decode 128 --threads 1",
    "edgeq profile build/minilm --brief --json",
    "edgeq profile build/smollm2-arm64 --device ssh://pi@raspberrypi.local",
    "edgeq profile build/smollm2-arm64 --device adb",
    "edgeq profile build/smollm2-arm64 --device qemu:cortex-a76 --bandwidth 12e9",
    "edgeq profile build/smollm2-arm64 --device qemu --calibrated phone.json",
)
BRIEF_S, FULL_S = 2.0, 15.0
BRIEF_COOL_S, FULL_COOL_S = 15.0, 120.0


@click.command("profile", cls=Command, examples=EXAMPLES, short_help="Time an artifact, and each op of it.")
@click.argument("artifact", type=click.Path(path_type=Path))
@click.option("--prefill", help="Prompt lengths to time, comma separated  [default: 512,128 as far as they fit].")
@click.option("--decode", type=click.IntRange(min=1), help="Tokens to decode  [default: 128, or the context].")
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(min=1), help="Least runs of each.")
@click.option("--brief", is_flag=True, help=f"{BRIEF_S:.0f} s a measurement (else {FULL_S:.0f}), stable or not.")
@click.option("-t", "--threads", default=0, show_default=True, type=click.IntRange(min=0), help="0: a core each.")
@click.option("--variant", help="Instruction-set variant to force; default: the best this CPU runs.")
@click.option("--device", default="local", show_default=True, help="Where: see `edgeq devices --help`.")
@click.option("--device-dir", help="Folder of edgeq's on the device; default: ~/.cache/edgeq/device there.")
@click.option("--bandwidth", type=click.FloatRange(1e6), help="Bytes/s that modelled times assume  [default: 15e9].")
@click.option(
    "--calibrated",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Model times for a device that `edgeq devices measure` measured: its file.",
)
@json_option
def command(
    artifact: Path,
    prefill: str | None,
    decode: int | None,
    repeats: int,
    brief: bool,
    threads: int,
    variant: str | None,
    device: str,
    device_dir: str | None,
    bandwidth: float | None,
    calibrated: Path | None,
    as_json: bool,
) -> None:
    """Time ARTIFACT: prefill, decode and first token, or a run of each static entry; load, memory, and each op
    beside the machine's bandwidth.

    On another --device, weights are pushed once and a program with the artifact's code whenever that changed. An
    emulated device gives counts and modelled times, labelled so, never measured ones.

    Speeds are of the model alone: neither tokenization, preprocessing nor sampling is in them.
    """
    from edgeq.measure.profile import Settings

    budget, cool = (BRIEF_S, BRIEF_COOL_S) if brief else (FULL_S, FULL_COOL_S)
    lengths = None if prefill is None else _lengths(prefill)
    settings = Settings(lengths, decode, budget, repeats, threads, variant, cool)
    with reporting() as progress:
        result = _profile(artifact, settings, Where(device, device_dir, bandwidth, calibrated), progress)
    if as_json:
        console.print_json(result)
        return
    if result.get("modelled"):
        from edgeq.cli.modelled_text import text as modelled_text

        click.echo(modelled_text(result))
        return
    click.echo(text(result))
    _warn(result)


@dataclass(frozen=True)
class Where:
    """The device, its folder, and what modelled times assume or were calibrated with."""

    device: str
    folder: str | None = None
    bandwidth: float | None = None
    calibrated: Path | None = None


def _profile(artifact: Path, settings: Settings, where: Where, progress: Report) -> dict[str, Any]:
    """In this process on this machine, else on the device."""
    from edgeq.errors import UsageError

    kind, _, cpu = where.device.partition(":")
    if kind == "qemu":
        return _modelled(artifact, settings, cpu, where, progress)
    if where.bandwidth or where.calibrated:
        raise UsageError(f"{where.device} is measured: --bandwidth and --calibrated are for --device qemu")
    if where.device == "local":
        from edgeq.measure.profile import profile

        return profile(artifact, settings, progress)
    from edgeq.devices.device import open_device
    from edgeq.devices.profile import profile_on

    with open_device(where.device, where.folder) as opened:
        return profile_on(opened, artifact, settings, progress)


def _modelled(artifact: Path, settings: Settings, cpu: str, where: Where, progress: Report) -> dict[str, Any]:
    from edgeq.errors import UsageError
    from edgeq.modelled import device_file
    from edgeq.modelled.estimate import BANDWIDTH
    from edgeq.modelled.profile import Settings as Modelled
    from edgeq.modelled.profile import profile_modelled

    device = where.device
    if where.folder:
        raise UsageError(f"--device {device} keeps nothing of its own: leave out --device-dir")
    if settings.prefill and len(settings.prefill) > 1:
        raise UsageError(f"--device {device} counts one prompt: give a single length to --prefill")
    if settings.threads > 1:
        raise UsageError(f"--device {device} counts one thread: leave out --threads")
    if where.bandwidth and where.calibrated:
        raise UsageError("--calibrated says the bandwidth: leave out --bandwidth")
    model = device_file.read(where.calibrated) if where.calibrated else None
    prompt = settings.prefill[0] if settings.prefill else None
    given = Modelled(prompt, settings.decode, settings.variant, bandwidth=where.bandwidth or BANDWIDTH, device=model)
    return profile_modelled(artifact, cpu, given, progress)


def _lengths(given: str) -> tuple[int, ...]:
    from edgeq.errors import UsageError

    parts = [part.strip() for part in given.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--prefill {given!r}: give positive lengths, comma separated: 512,128")
    return tuple(map(int, parts))


def _warn(result: dict[str, Any]) -> None:
    rates = {**result["tokens_per_second"], **result["latency"]}
    restless = [name for name, rate in rates.items() if not rate["stable"]]
    if restless:
        console.note(f"not stable (standard deviation over 3 %): {', '.join(restless)}; is something else running?")
    heat = result.get("temperature")
    if heat and not heat["cool"]:
        console.note(f"hot: it did not cool to {heat['start_celsius']:.0f} °C; the last measurements may be slow")


def text(result: dict[str, Any]) -> str:
    """The report for people."""
    parts = [_heading(result)]
    if result["tokens_per_second"]:
        parts.append(_rates(result["tokens_per_second"]))
    if result["latency"]:
        parts.append(_latencies(result["latency"]))
    return "\n\n".join([*parts, _facts(result), *_entries(result)])


def _heading(result: dict[str, Any]) -> str:
    device = "" if result["device"]["spec"] == "local" else f"{result['device']['spec']}: "
    where = f"{device}{result['variant']}, {result['threads']} threads, {result['machine']['cpu']}"
    return f"{result['model']} {result['bits']} ({where})"


def _rates(rates: dict[str, Any]) -> str:
    rows = [
        (name.replace("_", " "), f"{r['mean']:.1f} ± {r['stdev']:.1f}", r["median"], r["best"], len(r["samples"]))
        for name, r in rates.items()
    ]
    return table(("tokens a second", "mean ± σ", "median", "best", "runs"), rows)


def _latencies(latencies: dict[str, Any]) -> str:
    rows = [
        (name, *(f"{r[key] * 1e3:.3f}" for key in ("p50_seconds", "p90_seconds", "best_seconds")), r["runs_per_second"],
         r["runs"], megabytes(r["weight_bytes"]), f"{r['bytes_per_s'] / 1e9:.1f}", f"{r['share_of_bandwidth']:.0%}",
         f"{r['ops_per_s'] / 1e9:.1f}")
        for name, r in latencies.items()
    ]  # fmt: skip
    header = ("a run of", "P50 ms", "P90 ms", "best ms", "runs/s", "runs", "weights", "GB/s", "of bandwidth", "Gop/s")
    return table(header, rows)


def _facts(result: dict[str, Any]) -> str:
    resident, bandwidth = result["resident"], result["bandwidth"]
    ceiling = f"{bandwidth['bytes_per_s'] / 1e9:.1f} GB/s"
    lines = {
        "load": f"{result['load_seconds'] * 1e3:.0f} ms, hashes checked",
        "first token": _first_token(result["first_token"]),
        "resident": f"{megabytes(resident['artifact_bytes'])} for the artifact at most (VmHWM less VmRSS before), "
        f"{megabytes(resident['process_peak_bytes'])} for the whole process",
        "bandwidth": f"{ceiling} read with {bandwidth['threads']} threads, measured in this run; "
        "what stays in the caches is read faster",
        "decode": _decode(result),
        "temperature": _temperature(result.get("temperature")),
    }
    return "\n".join(f"{name + ':':13}{value}" for name, value in lines.items() if value)


def _temperature(heat: dict[str, Any] | None) -> str:
    if not heat:
        return ""
    degrees = " -> ".join(f"{heat[key]:.0f}" for key in ("start_celsius", "highest_celsius", "end_celsius"))
    return f"{degrees} °C (start, highest, end); {heat['waited_seconds']:.0f} s of waiting to cool down"


def _first_token(first: dict[str, Any] | None) -> str:
    return f"{first['seconds_median'] * 1e3:.1f} ms after a prompt of {first['prompt_tokens']}" if first else ""


def _decode(result: dict[str, Any]) -> str:
    if result["decode_weight_bytes"] is None:
        return ""
    return (
        f"reads {megabytes(result['decode_weight_bytes'])} of weights a token: "
        f"{result['decode_bytes_per_s'] / 1e9:.1f} GB/s, {result['decode_share_of_bandwidth']:.0%} of it"
    )


def _entries(result: dict[str, Any]) -> list[str]:
    return [_operations(name, ops) for name, ops in result["entries"].items() if ops]


def _operations(entry: str, ops: list[dict[str, Any]]) -> str:
    rows = [
        (op["name"], op["regions"], op["us"], f"{op['share_of_time']:.1%}", op["wait_us"], *_read(op), _compute(op))
        for op in sorted(ops, key=lambda op: -op["us"])
    ]
    rows.append(("total", sum(op["regions"] for op in ops), sum(op["us"] for op in ops), "", "", "", "", "", ""))
    header = (f"{entry}: op", "regions", "µs", "time", "wait µs", "bytes", "GB/s", "of bandwidth", "Gop/s")
    return table(header, rows)


def _read(op: dict[str, Any]) -> tuple[str, str, str]:
    if not op["weight_bytes"]:
        return "-", "-", "-"
    return f"{op['weight_bytes']:,}", f"{op['bytes_per_s'] / 1e9:.1f}", f"{op['share_of_bandwidth']:.0%}"


def _compute(op: dict[str, Any]) -> str:
    return f"{2 * op['ops'] / op['us'] / 1e3:.1f}" if op["ops"] and op["us"] else "-"
