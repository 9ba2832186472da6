"""Channel ranges before and after a pass as lines of blocks in the terminal."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

from edgeq.artifact.passes_file import Channels, PassRecord, PassSite
from edgeq.errors import UsageError

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-~=+*#"
PIPED_WIDTH = 100
LABEL = "  before  "
NUMBERS = 24  # characters kept for `-31.23..28.91`


@dataclass(frozen=True)
class Plotted:
    """A site of a pass with ranges before and after."""

    name: str
    site: PassSite
    before: Channels
    after: Channels


def plotted(passes: Sequence[PassRecord], glob: str) -> list[Plotted]:
    """Sites whose module matches `glob` (or holds it, where it has no wildcard) and whose ranges are known.

    Raises:
        UsageError: there are none; the message lists some that there are.
    """
    every = [
        Plotted(record.name, site, site.before, site.after)
        for record in passes
        for site in record.changed
        if site.before and site.after and not math.isnan(sum((*site.before.range, *site.after.range)))
    ]
    if not every:
        raise UsageError("no pass measured channel ranges: compile with a recipe that measures (see docs/recipes.md)")
    found = [item for item in every if _matches(item.site.module, glob)]
    if not found:
        modules = list(dict.fromkeys(item.site.module for item in every))
        listed = ", ".join(modules[:6]) + (f", ... ({len(modules)} in all)" if len(modules) > 6 else "")
        raise UsageError(f"--plot {glob}: no such site; there are {listed}")
    return found


def _matches(module: str, glob: str) -> bool:
    return fnmatchcase(module, glob) if any(mark in glob for mark in "*?[") else glob in module


def plot_text(items: Sequence[Plotted], width: int = 0, blocks: bool | None = None) -> str:
    """Two lines of blocks a site, each scaled to its own largest channel, its range beside it.

    width: columns; 0: the terminal's, 100 where the output is no terminal. blocks: False draws in ASCII; None: that is
    what an output takes whose encoding has no blocks.
    """
    levels = BLOCKS if (has_blocks() if blocks is None else blocks) else ASCII
    room = max(16, (width or terminal_width()) - len(LABEL) - NUMBERS)
    head = "height: largest magnitude of a channel, each line by itself; channels from left to right"
    return "\n\n".join([head, *(_site_text(item, room, levels) for item in items)])


def _site_text(item: Plotted, room: int, levels: str) -> str:
    lines = [f"{item.site.module}  {item.name}: {item.before.channels} channels"]
    for label, channels in (("before", item.before), ("after", item.after)):
        low, high = channels.range
        lines.append(f"  {label:8}{bars(channels.magnitudes, room, levels)}  {low:.4g}..{high:.4g}")
    return "\n".join(lines)


def bars(values: Sequence[float], room: int, levels: str) -> str:
    """One character a value (the largest of several where there is no room), by its share of the largest."""
    count = min(len(values), room)
    edges = [i * len(values) // count for i in range(count + 1)]
    shown = [max(values[a:b]) for a, b in pairwise(edges)]
    most = max(shown) or 1.0
    return "".join(levels[max(0, math.ceil(v / most * len(levels)) - 1)] for v in shown)


def terminal_width() -> int:
    """Columns that a drawing has: the terminal's, 100 where the output is no terminal."""
    return shutil.get_terminal_size((PIPED_WIDTH, 24)).columns if sys.stdout.isatty() else PIPED_WIDTH


def has_blocks() -> bool:
    """Whether the output's encoding has blocks."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
