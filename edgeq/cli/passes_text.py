"""What passes did, in words: pass by pass, site by site; sites alike are one line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from edgeq.artifact.passes_file import Channels, PassRecord, PassSite
from edgeq.cli.passes_plot import Plotted
from edgeq.cli.table import table
from edgeq.measure.names import layerless

FEW = 3  # sites alike that are still listed one by one


def passes_text(passes: Sequence[PassRecord]) -> str:
    """Every pass; "no pass ran" when there is none."""
    return "\n\n".join(map(_pass_text, passes)) or "no pass ran"


def _pass_text(record: PassRecord) -> str:
    parts = [f"{record.name}: {len(record.changed)} changed, {len(record.declined)} declined"]
    measured = [site for site in record.changed if site.before or site.after]
    if measured:
        rows = [(s.module, s.what, f"{_span(s.before)} -> {_span(s.after)}", _evenness(s)) for s in measured]
        parts.append(table(("site", "what was done", "range", "largest/median channel"), rows))
    plain = [site for site in record.changed if not (site.before or site.after)]
    if plain:
        parts.append(table(("site", "what was done"), _grouped(plain)))
    if record.declined:
        parts.append(table(("site", "left alone because"), _grouped(record.declined)))
    return "\n".join(parts)


def _grouped(sites: Iterable[PassSite]) -> list[tuple[str, str]]:
    """(module, what); layers' sites of which the same is said are one row: `model.layers.*.mlp (30)`."""
    groups: dict[tuple[str, str], list[PassSite]] = {}
    for site in sites:
        groups.setdefault((layerless([site.module])[0], site.what), []).append(site)
    rows: list[tuple[str, str]] = []
    for (pattern, what), alike in groups.items():
        if len(alike) <= FEW:
            rows += [(site.module, what) for site in alike]
        else:
            rows.append((f"{pattern} ({len(alike)})", what))
    return rows


def _span(channels: Channels | None) -> str:
    return "?" if channels is None else "{:.4g}..{:.4g}".format(*channels.range)


def _evenness(site: PassSite) -> str:
    return f"{_peak(site.before)} -> {_peak(site.after)}"


def _peak(channels: Channels | None) -> str:
    """How far the largest channel reaches beyond the median one: what one scale for all of them pays for it."""
    if channels is None:
        return "?"
    middle = median(channels.magnitudes)
    return f"{max(channels.magnitudes) / middle:.1f}x" if middle else "?"


def passes_json(passes: Sequence[PassRecord], drawn: Sequence[Plotted] = ()) -> dict[str, Any]:
    """For `--json`: every pass with every site, or only the sites that were asked to be drawn."""
    if not drawn:
        return {"passes": [asdict(record) for record in passes]}
    names = dict.fromkeys(item.name for item in drawn)
    return {"passes": [{"name": n, "changed": [asdict(d.site) for d in drawn if d.name == n]} for n in names]}
