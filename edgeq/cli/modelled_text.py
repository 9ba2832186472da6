"""What `edgeq profile --device qemu` prints for people: counts, and modelled cycles and times, said to be so."""

from __future__ import annotations

from typing import Any

from edgeq.cli.table import table

NOTE = "modelled: nothing here was timed; counts are exact, cycles and times are estimates (--json: every assumption)"


def text(result: dict[str, Any]) -> str:
    """Tables: an entry a block, kernels by executed instructions, then what would follow for each processor."""
    head = f"{result['model']} {result['bits']} ({result['variant']} on {result['device']}, 1 thread)\n{NOTE}"
    cores = {cpu: p["stands_for"] for cpu, p in result["assumptions"]["processors"].items()}
    head += "\ncores: " + "; ".join(f"{cpu} = {about}" for cpu, about in cores.items())
    blocks = [_entry(name, entry) for name, entry in result["entries"].items()]
    return "\n\n".join([head, *blocks, _processors(result["assumptions"])])


def _entry(name: str, entry: dict[str, Any]) -> str:
    rows = [_kernel(kernel, entry) for kernel in entry["kernels"]]
    rows.append(_total(entry))
    heading = (
        f"{_walk(name, entry)}: kernel",
        "calls",
        "instructions",
        "share",
        "bytes",
        *(f"{cpu} Mcycles" for cpu in entry["estimate"]),
    )
    unit = "token" if name in ("prefill", "decode") else "run"
    exact = f"{entry['instructions_per_row']:,.0f} instructions a {unit}, exactly"
    if entry["runs"] > 1:
        exact += f"; the table is the mean of {entry['runs']} runs"
    return "\n".join([table(heading, rows), exact, *(_estimate(name, entry, cpu) for cpu in entry["estimate"])])


def _walk(name: str, entry: dict[str, Any]) -> str:
    """The entry, and how many tokens all figures of its table but those a token are of."""
    return f"{name} of {entry['rows']} tokens" if entry["rows"] > 1 else name


def _kernel(kernel: dict[str, Any], entry: dict[str, Any]) -> tuple[Any, ...]:
    share = f"{kernel['instructions'] / entry['instructions']:.1%}"
    moved = kernel["weight_bytes"] + kernel["kv_bytes"]
    cycles = (_mega(kernel["cycles"][cpu]) for cpu in entry["estimate"])
    return kernel["name"], kernel["calls"] or "", f"{kernel['instructions']:,.0f}", share, f"{moved:,.0f}", *cycles


def _total(entry: dict[str, Any]) -> tuple[Any, ...]:
    moved = entry["weight_bytes"] + entry["kv_bytes"]
    cycles = (_mega(entry["estimate"][cpu] and entry["estimate"][cpu]["cycles"]) for cpu in entry["estimate"])
    return "total", "", f"{entry['instructions']:,.0f}", "", f"{moved:,.0f}", *cycles


def _mega(cycles: float | None) -> str:
    return "-" if cycles is None else f"{cycles / 1e6:,.3f}"


def _estimate(name: str, entry: dict[str, Any], cpu: str) -> str:
    found = entry["estimate"][cpu]
    if found is None:
        return f"{cpu}: -"
    rate = f"{found['rows_per_second']:,.1f} {'tokens' if name in ('prefill', 'decode') else 'runs'}/s"
    sides = f"cycles alone {found['compute_seconds'] * 1e3:.2f} ms, bytes alone {found['memory_seconds'] * 1e3:.2f} ms"
    error = ""
    if "error" in found:
        low, high = found["seconds_between"]
        error = f"; by errors observed on the device {low * 1e3:.2f} to {high * 1e3:.2f} ms"
    return f"{cpu}: modelled {found['seconds'] * 1e3:.2f} ms, {rate} ({sides}){error}"


def _processors(assumed: dict[str, Any]) -> str:
    rows = [
        (cpu, p["stands_for"], f"{p['clock_hz'] / 1e9:.2f}", f"{p['bandwidth_bytes_per_s'] / 1e9:.1f}",
         p["no_figures_because"] or "")
        for cpu, p in assumed["processors"].items()
    ]  # fmt: skip
    return table(("assumed", "stands for", "GHz", "GB/s", "no figures because"), rows)


def fit_lines(measurement: dict[str, Any]) -> list[str]:
    """What a device file says of the model fitted to it."""
    if "model" not in measurement:
        return [f"no model was fitted: {measurement['not_fitted']}"]
    model, error = measurement["model"], measurement["error"]
    lines = [
        f"fitted as {model['core']}: {model['cycles_per_s'] / 1e9:.2f} Gcycles/s, {model['bytes_per_s'] / 1e9:.1f} GB/s"
    ]
    for what in ("entries", "kernels"):
        found = error[what]
        off = f"off by {found['median']:.0%} (median), {found['worst']:.0%} at worst"
        lines.append(f"{what} predicted, {error['left_out']}: {off}, of {found['predictions']}")
    if restless := _restless(measurement["profiles"]):
        lines.append(f"not stable while measured: {', '.join(restless)}; the error says what that is worth")
    return lines


def _restless(profiles: list[dict[str, Any]]) -> list[str]:
    rates = [(profile["model"], *item) for profile in profiles for item in profile["tokens_per_second"].items()]
    return [f"{model} {name}" for model, name, rate in rates if not rate["stable"]]
