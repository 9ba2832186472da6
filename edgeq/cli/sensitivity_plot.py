"""Damages as bars in the terminal: a line a part of the model, a number a format."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeq.cli.passes_plot import has_blocks, terminal_width
from edgeq.sensitivity.result import HEAD, Sensitivity, Unit

EIGHTHS = " ▏▎▍▌▋▊▉█"
LEAST_BAR, MOST_BAR = 8, 40
NAMES = "part"


def chart(found: Sensitivity, top: int | None = None, width: int = 0, blocks: bool | None = None) -> str:
    """A line a unit, in the model's order: its name, what it suffers in each format, and a bar.

    The bar is of the format of fewest bits, by the largest damage of its column (head and linears have candidates of
    their own, each scaled by itself).

    Args:
        top: only so many units of each kind, those that suffer most. width: columns; 0: the terminal's.
        blocks: False draws in ASCII; None: as the output's encoding allows.
    """
    drawn = has_blocks() if blocks is None else blocks
    groups = [[unit for unit in found.units if (unit.kind == HEAD) == head] for head in (False, True)]
    tables = [_table(most(group, top), width or terminal_width(), drawn) for group in groups if group]
    return "\n\n".join([heading(found), *tables, *found.notes])


def heading(found: Sensitivity) -> str:
    """What the numbers are."""
    how = "estimated from gradients" if found.method == "fisher" else "measured part by part"
    count = f"{found.tokens:,} positions"
    return f"{found.model}: damage in {found.unit} when one part is quantized, beside {found.act} ({how}, {count})"


def most(units: Sequence[Unit], top: int | None) -> list[Unit]:
    """The `top` units that suffer most in their worst format, worst first; None: all, in their order."""
    if top is None:
        return list(units)
    return sorted(units, key=lambda unit: -max(one.damage for one in unit.formats.values()))[:top]


def formats_of(units: Sequence[Unit]) -> list[str]:
    """Every format that some unit has, that of fewest bytes first."""
    sizes: dict[str, float] = {}
    for unit in units:
        for text, one in unit.formats.items():
            sizes[text] = min(sizes.get(text, math.inf), one.bytes / unit.weights)
    return sorted(sizes, key=lambda text: sizes[text])


def short_name(modules: Sequence[str]) -> str:
    """`a.q_proj`, `a.k_proj` -> `a.{q_proj,k_proj}`."""
    prefix = modules[0][: modules[0].rfind(".") + 1]
    if len(modules) == 1 or not all(name.startswith(prefix) for name in modules):
        return ", ".join(modules)
    return prefix + "{" + ",".join(name.removeprefix(prefix) for name in modules) + "}"


def _table(units: Sequence[Unit], width: int, blocks: bool) -> str:
    formats = formats_of(units)
    names = [short_name(unit.modules) for unit in units]
    cells = [[_number(unit, text) for text in formats] for unit in units]
    name_width = max(map(len, [NAMES, *names]))
    widths = [max(len(text), *(len(row[i]) for row in cells)) for i, text in enumerate(formats)]
    room = max(LEAST_BAR, min(MOST_BAR, width - name_width - sum(w + 2 for w in widths) - 2))
    lines = [_line(NAMES, name_width, formats, widths, formats[0])]
    longest = max((_damage(unit, formats[0]) for unit in units), default=0.0)
    for unit, name, row in zip(units, names, cells, strict=True):
        lines.append(_line(name, name_width, row, widths, bar(_damage(unit, formats[0]), longest, room, blocks)))
    return "\n".join(lines)


def _line(name: str, name_width: int, cells: Sequence[str], widths: Sequence[int], end: str) -> str:
    numbers = "".join(f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    return f"{name:<{name_width}}{numbers}  {end}".rstrip()


def _damage(unit: Unit, text: str) -> float:
    return unit.formats[text].damage if text in unit.formats else 0.0


def _number(unit: Unit, text: str) -> str:
    return f"{unit.formats[text].damage:.2g}" if text in unit.formats else "-"


def bar(value: float, longest: float, room: int, blocks: bool = True) -> str:
    """`value` by the share of `longest` that it is of `room` characters; anything above 0 leaves a mark."""
    share = 0.0 if longest <= 0 else 1.0 if math.isinf(value) else min(1.0, value / longest)
    if not blocks:
        return "#" * max(round(share * room), 1 if value > 0 else 0)
    eighths = max(round(share * room * 8), 1 if value > 0 else 0)
    return EIGHTHS[8] * (eighths // 8) + (EIGHTHS[eighths % 8] if eighths % 8 else "")
