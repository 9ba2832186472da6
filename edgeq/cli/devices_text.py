"""A device's facts for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeq.cli.table import megabytes, table

if TYPE_CHECKING:
    from edgeq.devices.facts import DeviceFacts


def text(facts: DeviceFacts) -> str:
    """Several lines; what is not known is left out."""
    lines = {
        "product": facts.product,
        "processor": facts.cpu or "unknown",
        "cores": _cores(facts),
        "features": " ".join(facts.features),
        "memory": f"{megabytes(facts.memory_bytes)}, {megabytes(facts.available_bytes)} available",
        "caches": ", ".join(f"{name} {megabytes(size)}" for name, size in facts.cache_bytes.items()),
        "temperature": ", ".join(f"{name}: {value:.1f} °C" for name, value in (facts.temperatures or {}).items()),
        "clocks now": ", ".join(f"{hz / 1e9:.2f} GHz" for hz in (facts.frequencies or {}).values()),
        "int8 peak": _peak(facts),
    }
    heading = f"{facts.name} ({facts.system} {facts.arch}{', emulated: nothing is timed' if facts.emulated else ''})"
    parts = [heading, *(f"  {name + ':':13}{value}" for name, value in lines.items() if value)]
    return "\n".join([*parts, *([_reading(facts)] if facts.bandwidth else [])])


def _cores(facts: DeviceFacts) -> str:
    kinds = [
        f"{c.cores} x {c.name or '?'}{f' at most {c.max_hz / 1e9:.2f} GHz' if c.max_hz else ''}" for c in facts.clusters
    ]
    return f"{facts.cores} online" + (f": {', '.join(kinds)}" if kinds else "")


def _peak(facts: DeviceFacts) -> str:
    rates = [
        f"{rate.ops_per_s / 1e9:,.0f} Gop/s with {rate.threads} thread{'s' * (rate.threads > 1)}" for rate in facts.int8
    ]
    return f"{', '.join(rates)} ({facts.int8[0].instruction}; a multiply and an add are two)" if rates else ""


def _reading(facts: DeviceFacts) -> str:
    rows = [
        (f"  {rate.threads}", f"{rate.bytes_per_s / 1e9:.1f}", megabytes(rate.buffer_bytes)) for rate in facts.bandwidth
    ]
    return table(("  threads reading", "GB/s", "buffer"), rows)
