"""`edgeq sensitivity`: charts, drawings and JSON."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from edgeq.cli.app import app
from edgeq.cli.sensitivity_plot import bar, chart, short_name
from edgeq.cli.sensitivity_svg import svg
from edgeq.sensitivity.result import Candidate, Sensitivity, Unit
from tests.tiny import write_tiny_llama


def unit(name: str, low: float, high: float, kind: str = "linear") -> Unit:
    return Unit((name,), (64, 64), {"w8": Candidate(low, 4352), "w4g32": Candidate(high, 2304)}, kind)


UNITS = unit("a.first", 0.001, 0.25), unit("a.second", 0.002, 0.5), unit("head", 0, 1, "head")
FOUND = Sensitivity("m<1>", "kl", "nats a token", 640, UNITS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "llama")


def edgeq(*words):
    return CliRunner().invoke(app, ["sensitivity", *map(str, words)])


def test_bars_are_in_proportion() -> None:
    lines = chart(FOUND, width=100, blocks=True).splitlines()
    assert lines[2].split() == ["part", "w4g32", "w8", "w4g32"]  # fewest bytes first; the bars are its
    first, second = (line.count("█") for line in lines[3:5])
    assert second == 2 * first == 40
    assert lines[-1].startswith("head") and "KL" not in lines[0] and "640" in lines[0]
    assert "█" not in chart(FOUND, blocks=False)


def test_the_worst_come_first_when_only_some_are_shown() -> None:
    lines = chart(FOUND, top=1).splitlines()
    assert sum("a." in line for line in lines) == 1 and any(line.startswith("a.second") for line in lines)


@pytest.mark.parametrize(("value", "drawn"), [(0.0, ""), (1e-9, "▏"), (0.5, "█████"), (math.inf, "██████████")])
def test_every_harm_leaves_a_mark(value: float, drawn: str) -> None:
    assert bar(value, 1.0, 10) == drawn


def test_modules_of_one_parent_are_written_together() -> None:
    assert short_name(["l.0.q", "l.0.k"]) == "l.0.{q,k}"
    assert short_name(["a.head", "b.embed"]) == "a.head, b.embed"


def test_the_drawing_is_xml_with_a_bar_for_each_damage() -> None:
    root = ElementTree.fromstring(svg(FOUND))
    names = [element.text or "" for element in root.iter() if element.tag.endswith("title")]
    assert names[0].startswith("m<1>: damage in nats a token")
    assert sum(" as w" in name for name in names) == 6
    widths = [float(e.get("width", "")) for e in root.iter() if e.tag.endswith("rect")][1:]
    assert widths[1] == pytest.approx(2 * widths[0])


def test_json_is_what_budgets_read(folder, tmp_path) -> None:
    drawing = tmp_path / "x.svg"
    given = ("--formats", "w4g32,w8", "--calib-samples", 1, "--calib-length", 32, "--plot-file", drawing)
    result = edgeq(folder, *given, "--json")
    assert result.exit_code == 0, result.stderr
    found = Sensitivity.from_json(json.loads(result.stdout))
    assert found.method == "fisher" and found.unit == "nats a token" and found.tokens > 0
    assert len(found.units) == 9 and list(found.units[0].formats) == ["w4g32", "w8"]
    assert found.units[0].formats["w8"].damage < found.units[0].formats["w4g32"].damage
    assert drawing.read_text().startswith("<svg")


def test_a_measured_chart(folder) -> None:
    result = edgeq(folder, "--method", "kl", "--calib-samples", 1, "--calib-length", 32, "--formats", "w8", "--top", 2)
    assert result.exit_code == 0, result.stderr
    assert "measured part by part" in result.stdout and "model.layers." in result.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "x"), "fisher, kl, output"),
        (("--formats", "w5"), "w5"),
        (("--bits", "w8a8s"), "static-ranges"),
        (("--calib", "none"), "--calib"),
    ],
)
def test_what_it_cannot_do_is_said(folder, words, message) -> None:
    result = edgeq(folder, *words)
    assert result.exit_code == 2 and message in result.stderr
