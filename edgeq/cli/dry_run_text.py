"""What `edgeq compile --dry-run` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeq.cli.table import table

if TYPE_CHECKING:
    from edgeq.predict.dry_run import Prediction
    from edgeq.predict.speeds import Speed

MB = 1e6


def dry_run_text(found: Prediction) -> str:
    """Size, cost and speeds, each with how far it may be off."""
    return "\n".join([_head(found), "", *_size(found), "", *_cost(found), "", *_speeds(found)])


def _head(found: Prediction) -> str:
    options, drawn = found.options, found.drawn
    passes = ", ".join(text.split("{")[0] for text in drawn.passes) or "none"
    name = f"{drawn.source.name} {options.bits} for {options.target.name}"
    return f"{name}: a dry run, nothing is written; passes: {passes}"


def _size(found: Prediction) -> list[str]:
    size = found.size
    largest = sorted(size.files.items(), key=lambda file: -file[1])
    rows = [(name, f"{bytes_:,}", "exact" if name in size.exact else "predicted") for name, bytes_ in largest]
    lines = [f"size: {size.total / MB:.2f} MB, within 1 %", table(("file", "bytes", ""), rows)]
    return lines + ([f"left out, as it is not here: {', '.join(size.missing)}"] if size.missing else [])


def _cost(found: Prediction) -> list[str]:
    cost = found.cost
    stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in cost.stages.items())
    kernels = "kernels from the cache" if cost.warm else "kernels generated"
    lines = [
        f"compile: {cost.seconds:.0f} s ± {cost.error:.0%} ({kernels}): {stages}",
        f"memory:  {cost.peak_bytes / MB:,.0f} MB at most ± {cost.memory_error:.0%}",
    ]
    if cost.unknown:
        lines.append(f"not in the time, as nobody measured it: {', '.join(cost.unknown)}")
    tried = found.drawn.pipelines
    return lines + ([f"best tries {tried} pipelines; the size is that of balanced's"] if tried > 1 else [])


def _speeds(found: Prediction) -> list[str]:
    rows = [_speed(speed) for speed in found.speeds]
    how = "timed here on blank weights" if all(s.source == "measured" for s in found.speeds) else "modelled, one thread"
    return [f"speed, {how}:", table(("entry", "rate", "time", "off by at most"), rows)]


def _speed(speed: Speed) -> tuple[str, str, str, str]:
    rate = f"{speed.rate:,.1f} {'tok/s' if speed.tokens else 'runs/s'}"
    at = f" at position {speed.position}" if speed.tokens == 1 else ""
    return speed.name + at, rate, f"{speed.seconds * 1e3:,.2f} ms", f"{speed.error:.0%}"
