"""The frontier as one SVG file that needs nothing else: size to the right, damage upwards, logarithmic."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from edgeq.artifact.space import cannot_write
from edgeq.budget.amounts import size_text
from edgeq.budget.frontier import Frontier, Point
from edgeq.cli.pareto_text import mix
from edgeq.cli.passes_svg import AXIS, TEXT
from edgeq.sensitivity.result import Sensitivity

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 44, 46
LINE, UNIFORM = "#0060a8", "#b14a00"  # told apart by every kind of colour vision
LEAST = 1e-9


def write_svg(path: Path, found: Frontier, sensitivity: Sensitivity) -> None:
    """Write the drawing; raises OutputError."""
    try:
        path.write_text(svg(found, sensitivity), encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error


def svg(found: Frontier, sensitivity: Sensitivity) -> str:
    """A line through the frontier's points, a square for each artifact of one format."""
    every = [*found.points, *found.uniform.values()]
    plot = _Plot(every)
    title = f"Size and predicted damage of {sensitivity.model}"
    line = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(map(plot.at, found.points)))
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-labelledby="title" font-family="sans-serif" font-size="11" fill="{TEXT}">',
        f'<title id="title">{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{escape(title)}</text>',
        f'<text x="{LEFT}" y="34">line: a format for every layer; squares: one format for all; '
        f"damage in {escape(sensitivity.unit)}, logarithmic</text>",
        *plot.axes(),
        f'<path d="{line}" fill="none" stroke="{LINE}" stroke-width="2"/>',
        *(_dot(plot, point) for point in found.points),
        *(_square(plot, name, point) for name, point in found.uniform.items()),
        "</svg>",
    ]) + "\n"  # fmt: skip


class _Plot:
    """Where points lie."""

    def __init__(self, points: list[Point]) -> None:
        sizes, damages = [p.bytes for p in points], [math.log10(max(p.damage, LEAST)) for p in points]
        self._x = min(sizes), max(max(sizes), min(sizes) + 1)
        self._y = math.floor(min(damages) * 2) / 2, max(math.ceil(max(damages) * 2) / 2, min(damages) + 0.5)

    def at(self, point: Point) -> tuple[float, float]:
        return self._across(point.bytes), self._up(math.log10(max(point.damage, LEAST)))

    def _across(self, size: float) -> float:
        return LEFT + (size - self._x[0]) / (self._x[1] - self._x[0]) * (WIDTH - LEFT - RIGHT)

    def _up(self, damage: float) -> float:
        return HEIGHT - BOTTOM - (damage - self._y[0]) / (self._y[1] - self._y[0]) * (HEIGHT - TOP - BOTTOM)

    def axes(self) -> list[str]:
        """Lines at the left and below, with five labels each."""
        parts = [f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none" stroke="{AXIS}"/>']
        for i in range(5):
            size = self._x[0] + (self._x[1] - self._x[0]) * i / 4
            damage = self._y[0] + (self._y[1] - self._y[0]) * i / 4
            x, y = self._across(size), self._up(damage)
            parts.append(f'<text x="{x:.0f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{size_text(size)}</text>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{10**damage:.2g}</text>')
        return parts


def _dot(plot: _Plot, point: Point) -> str:
    x, y = plot.at(point)
    words = escape(f"{size_text(point.bytes)}, damage {point.damage:.3g}: {mix(point)}, head {point.head}")
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{LINE}"><title>{words}</title></circle>'


def _square(plot: _Plot, name: str, point: Point) -> str:
    x, y = plot.at(point)
    words = escape(f"{name} everywhere: {size_text(point.bytes)}, damage {point.damage:.3g}")
    return (
        f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{UNIFORM}"><title>{words}</title></rect>'
        f'<text x="{x + 6:.1f}" y="{y - 5:.1f}" fill="{UNIFORM}">{escape(name)}</text>'
    )
