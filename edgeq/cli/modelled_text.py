"""What `edgeq profile --device qemu` prints for people: counts and modelled times, said to be so."""

from __future__ import annotations

from typing import Any

from edgeq.cli.table import table


def text(result: dict[str, Any]) -> str:
    """A table an entry, then the assumptions that the estimates rest on."""
    heading = (
        f"{result['model']} {result['bits']} ({result['device']}, {result['variant']}); modelled, nothing is measured"
    )
    entries = [_entry(name, entry) for name, entry in result["entries"].items()]
    return "\n\n".join([heading, *entries, _assumptions(result["assumptions"])])


def _entry(name: str, entry: dict[str, Any]) -> str:
    cpus = list(entry["estimate"])
    header = (f"{name}: kernel", "calls", "instructions", "weight bytes", *(f"{cpu} µs" for cpu in cpus))
    kernels = sorted(entry["kernels"], key=lambda kernel: -kernel["instructions"])
    rows = [
        (k["name"], k["calls"], round(k["instructions"]), k["weight_bytes"], *(_us(k["seconds"][cpu]) for cpu in cpus))
        for k in kernels
    ]
    total = (_us(found["seconds"] if found else None) for found in entry["estimate"].values())
    rows.append(("total", "", round(entry["instructions"]), entry["weight_bytes"], *total))
    rate = ", ".join(f"{cpu} {_rate(entry['estimate'][cpu])}" for cpu in cpus)
    per_row = (
        f"{entry['instructions_per_row']:,.0f} instructions a row of {entry['rows']}; modelled rows a second: {rate}"
    )
    return f"{table(header, rows)}\n{per_row}"


def _us(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:,.1f}"


def _rate(estimate: dict[str, Any] | None) -> str:
    return "-" if estimate is None else f"{estimate['rows_per_second']:.1f}"


def _assumptions(assumptions: Any, indent: str = "  ") -> str:
    return "assumptions:\n" + "\n".join(_lines(assumptions, indent))


def _lines(value: Any, indent: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{indent}{value}"]
    lines = []
    for key, item in value.items():
        nested = isinstance(item, dict)
        lines += [f"{indent}{key}:", *_lines(item, indent + "  ")] if nested else [f"{indent}{key}: {item}"]
    return lines
