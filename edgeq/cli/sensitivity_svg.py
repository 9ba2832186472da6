"""Damages as one SVG file that needs nothing else: a row a part of the model, a panel of bars a format."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from edgeq.artifact.space import cannot_write
from edgeq.cli.passes_svg import AXIS, TEXT
from edgeq.cli.sensitivity_plot import formats_of, heading, most, short_name
from edgeq.sensitivity.result import HEAD, Sensitivity, Unit

ROW, GAP, TOP = 15, 12, 40
PANEL, NAME_CHARACTER = 150, 6.1
LINEAR_BAR, HEAD_BAR = "#0060a8", "#b14a00"  # told apart by every kind of colour vision


def write_svg(path: Path, found: Sensitivity, top: int | None = None) -> None:
    """Write the drawing, of all units or the `top` of each kind; raises OutputError."""
    try:
        path.write_text(svg(found, top), encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error


def svg(found: Sensitivity, top: int | None = None) -> str:
    """One table of linears, one of heads; each panel is scaled to its own largest damage."""
    groups = [most([u for u in found.units if (u.kind == HEAD) == head], top) for head in (False, True)]
    groups = [group for group in groups if group]
    names = [short_name(unit.modules) for group in groups for unit in group]
    left = GAP + NAME_CHARACTER * max(map(len, names), default=0)
    panels = max((len(formats_of(group)) for group in groups), default=0)
    width = max(left + panels * (PANEL + GAP), NAME_CHARACTER * len(heading(found)) + 2 * GAP) + GAP
    body, y = [], float(TOP)
    for group in groups:
        body.append(_table(group, left, y))
        y += ROW * (len(group) + 2) + GAP
    title, box = escape(heading(found)), f"0 0 {width:.0f} {y:.0f}"
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{y:.0f}" viewBox="{box}" role="img" '
        f'aria-labelledby="title" font-family="sans-serif" font-size="10" fill="{TEXT}">',
        f'<title id="title">{title}</title>',
        f'<rect width="{width:.0f}" height="{y:.0f}" fill="#ffffff"/>',
        f'<text x="{GAP}" y="22" font-size="12" font-weight="bold">{title}</text>',
        *body,
        "</svg>",
    ]) + "\n"  # fmt: skip


def _table(units: Sequence[Unit], left: float, top: float) -> str:
    names = [
        _text(left - 6, top + ROW * (i + 2) - 4, short_name(unit.modules), 'text-anchor="end"')
        for i, unit in enumerate(units)
    ]
    panels = [_panel(units, text, left + i * (PANEL + GAP), top) for i, text in enumerate(formats_of(units))]
    return "\n".join([*names, *panels])


def _panel(units: Sequence[Unit], text: str, x: float, top: float) -> str:
    damages = [unit.formats[text].damage if text in unit.formats else 0.0 for unit in units]
    finite = [damage for damage in damages if damage != float("inf")]
    longest = max(finite, default=0.0) or 1.0
    parts = [
        _text(x, top + ROW - 4, text, 'font-weight="bold"'),
        _text(x + PANEL, top + ROW - 4, f"to {longest:.3g}", f'text-anchor="end" fill="{AXIS}"'),
    ]
    for i, (unit, damage) in enumerate(zip(units, damages, strict=True)):
        y, length = top + ROW * (i + 1) + 3, PANEL * min(1.0, damage / longest)
        colour = HEAD_BAR if unit.kind == HEAD else LINEAR_BAR
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.5, length):.1f}" height="{ROW - 5}" fill="{colour}">'
            f"<title>{escape(short_name(unit.modules))} as {escape(text)}: {damage:.3g}</title></rect>"
        )
    height = ROW * len(units) + 2
    parts.append(f'<path d="M{x:.1f} {top + ROW:.1f}v{height}" stroke="{AXIS}" stroke-width="0.5"/>')
    return "\n".join(parts)


def _text(x: float, y: float, words: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'
