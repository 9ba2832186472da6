"""The frontier in the terminal: a row a point, with a bar of its damage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeq.budget.amounts import percent_text, size_text
from edgeq.budget.frontier import Frontier, Point
from edgeq.cli.passes_plot import has_blocks
from edgeq.cli.table import table
from edgeq.sensitivity.result import Sensitivity

BAR = 24


def text(found: Frontier, sensitivity: Sensitivity) -> str:
    """A table of the frontier, one of uniform artifacts; bars are logarithmic, from the least to the largest damage."""
    every = [*found.points, *found.uniform.values()]
    header = ("size", "damage", "perplexity", "head", "formats", "")
    rows = [_row(point, every) for point in found.points]
    uniform = sorted(found.uniform.values(), key=lambda point: point.bytes)
    return "\n".join([
        f"predicted frontier of {sensitivity.model}: damage in {sensitivity.unit} ({sensitivity.method}, "
        f"{sensitivity.tokens:,} tokens), bytes of the whole artifact",
        table(header, rows),
        "",
        "one format for all layers:",
        table(header, [_row(point, every) for point in uniform]),
    ])  # fmt: skip


def _row(point: Point, every: Sequence[Point]) -> tuple[str, ...]:
    share = "" if point.share is None else percent_text(point.share)
    return (size_text(point.bytes), f"{point.damage:.4g}", share, point.head, mix(point), _bar(point, every))


def mix(point: Point, most: int = 4) -> str:
    """`w4g32 61%, w8 39%`: the formats of most weights."""
    parts = [f"{name} {part:.0%}" for name, part in list(point.formats.items())[:most]]
    return ", ".join(parts) + (", ..." if len(point.formats) > most else "")


def _bar(point: Point, every: Sequence[Point]) -> str:
    damages = [math.log(max(one.damage, 1e-12)) for one in every]
    low, high = min(damages), max(damages)
    part = (math.log(max(point.damage, 1e-12)) - low) / (high - low) if high > low else 1.0
    return ("█" if has_blocks() else "#") * max(1, round(part * BAR))
