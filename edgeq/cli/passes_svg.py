"""Channel ranges before and after passes as one SVG file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from edgeq.artifact.passes_file import Channels
from edgeq.artifact.space import cannot_write
from edgeq.cli.passes_plot import Plotted

COLUMNS = 3
PANEL_WIDTH, PANEL_HEIGHT, GAP = 200, 90, 12
CELL_WIDTH, CELL_HEIGHT = 2 * PANEL_WIDTH + 4 * GAP, PANEL_HEIGHT + 52
HEADER = 64
BEFORE, AFTER = "#b14a00", "#0060a8"  # told apart by every kind of colour vision, and dark enough on white
TEXT, AXIS = "#222222", "#767676"


def write_svg(path: Path, items: Sequence[Plotted], title: str) -> None:
    """Write the drawing; raises OutputError."""
    try:
        path.write_text(svg(items, title), encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error


def svg(items: Sequence[Plotted], title: str) -> str:
    """One cell a site: before on the left, after on the right, a bar from low to high a channel.

    Each panel fills its height with its own range, as a quantizer fills its grid: what is seen is how evenly.
    """
    columns = min(COLUMNS, len(items))
    rows = -(-len(items) // COLUMNS)
    width, height = max(columns, 2) * CELL_WIDTH + 2 * GAP, HEADER + rows * CELL_HEIGHT + GAP
    about = (
        f"Channel ranges of {len(items)} activations before and after passes; each panel is scaled to its own range."
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-labelledby="title desc" font-family="sans-serif" font-size="11" fill="{TEXT}">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="desc">{about}</desc>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{GAP}" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
        _legend(),
        *(_cell(item, i % COLUMNS, i // COLUMNS) for i, item in enumerate(items)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend() -> str:
    y = 36
    words = ((GAP, BEFORE, "before"), (GAP + 80, AFTER, "after"))
    keys = (
        f'<rect x="{x}" y="{y}" width="10" height="10" fill="{colour}"/><text x="{x + 15}" y="{y + 9}">{word}</text>'
        for x, colour, word in words
    )
    note = "bars: least to largest value of a channel (or of some neighbours); each panel is scaled to its own range"
    return "".join(keys) + f'<text x="{GAP + 150}" y="{y + 9}">{note}</text>'


def _cell(item: Plotted, column: int, row: int) -> str:
    x, y = GAP + column * CELL_WIDTH, HEADER + row * CELL_HEIGHT
    spans = [channels.range for channels in (item.before, item.after)]
    words = [f"{side} {a:.4g} to {b:.4g}" for side, (a, b) in zip(("before", "after"), spans, strict=True)]
    panels = (
        _panel(channels, colour, word, GAP // 2 + i * (PANEL_WIDTH + GAP))
        for i, (channels, colour, word) in enumerate(
            zip((item.before, item.after), (BEFORE, AFTER), words, strict=True)
        )
    )
    name = escape(item.site.module)
    return (
        f'<g transform="translate({x},{y})"><title>{name}: {", ".join(words)}</title>'
        f'<text x="{GAP // 2}" y="12" font-weight="bold">{_shortened(item.site.module)}</text>'
        f'<text x="{GAP // 2}" y="25" fill="{AXIS}">{_shortened(item.name)}</text>{"".join(panels)}</g>'
    )


def _shortened(text: str, most: int = 66) -> str:
    return escape(text if len(text) <= most else f"...{text[3 - most :]}")


def _panel(channels: Channels, colour: str, words: str, x: float) -> str:
    low, high = min(0.0, channels.range[0]), max(0.0, channels.range[1])
    scale = PANEL_HEIGHT / ((high - low) or 1.0)
    top = 30
    zero = top + high * scale
    return (
        f'<path d="{_bars(channels, x, zero, scale)}" fill="{colour}"/>'
        f'<path d="M{x} {zero:.1f}h{PANEL_WIDTH}" stroke="{AXIS}" stroke-width="0.5"/>'
        f'<text x="{x}" y="{top + PANEL_HEIGHT + 14}">{words}</text>'
    )


def _bars(channels: Channels, x: float, zero: float, scale: float) -> str:
    """A rectangle a bin, at least half a pixel high."""
    step = PANEL_WIDTH / len(channels.low)
    found = []
    for i, (low, high) in enumerate(zip(channels.low, channels.high, strict=True)):
        if low is not None and high is not None:
            height = max(0.5, (high - low) * scale)
            found.append(f"M{x + i * step:.1f} {zero - high * scale:.1f}h{step:.2f}v{height:.1f}h{-step:.2f}z")
    return "".join(found)
