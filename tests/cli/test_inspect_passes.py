"""`edgeq inspect --passes` and `--plot`: what they print and draw of a passes.json."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from edgeq.artifact import manifest as manifests
from edgeq.artifact.passes_file import write_passes
from edgeq.cli.app import app
from edgeq.cli.passes_plot import bars
from edgeq.passes.pass_ import Range, Report, Site

SVG = "{http://www.w3.org/2000/svg}"


def inspect(*words: object) -> Result:
    return CliRunner().invoke(app, ["inspect", *map(str, words)])


def span(low: list[float], high: list[float]) -> Range:
    return Range(torch.tensor(low), torch.tensor(high))


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    spiky, even = span([-1.0, -31.23456, -1.0], [1.0, 2.0, 1.5]), span([-1.0, -2.0, -1.0], [1.0, 1.0, 1.5])
    norms = tuple(Site(f"model.layers.{i}.input_layernorm", f"alpha 0.{i}", spiky, even) for i in range(2))
    declined = tuple(Site(f"model.layers.{i}.mlp", "its <input> is shared") for i in range(9))
    merged = tuple(Site(f"model.layers.{i}.self_attn", "3 linears become one") for i in range(5))
    reports = [Report("smooth{alpha=0.5}", norms, declined), Report("merge-linears", merged), Report("none")]
    write_passes(reports, tmp_path)
    manifests.write(manifests.Manifest("0", "tiny & co", "x86-64", "w4a8", {}, []), tmp_path)
    return tmp_path


def test_every_pass_and_measured_site_is_listed(artifact):
    lines = inspect(artifact, "--passes").stdout.splitlines()
    assert lines[0] == "smooth{alpha=0.5}: 2 changed, 9 declined"
    row = next(line for line in lines if line.startswith("model.layers.0.input_layernorm"))
    assert "alpha 0.0" in row
    assert "-31.23..2 -> -2..1.5" in row
    assert "20.8x -> 1.3x" in row
    assert "none: 0 changed, 0 declined" in lines


def test_sites_alike_are_one_line(artifact):
    text = inspect(artifact, "--passes").stdout
    assert "model.layers.*.mlp (9)" in text
    assert "its <input> is shared" in text
    assert "model.layers.*.self_attn (5)  3 linears become one" in text
    assert "model.layers.3" not in text


def test_json_has_every_site_and_range(artifact):
    found = json.loads(inspect(artifact, "--passes", "--json").stdout)["passes"]
    assert [len(p["changed"]) + len(p["declined"]) for p in found] == [11, 5, 0]
    assert found[0]["changed"][0]["before"] == {"channels": 3, "low": [-1.0, -31.23, -1.0], "high": [1.0, 2.0, 1.5]}


def test_a_plot_shows_the_outlier_go(artifact):
    lines = inspect(artifact, "--plot").stdout.splitlines()
    assert lines.count("  before  ▁█▁  -31.23..2") == 2
    assert lines.count("  after   ▄█▆  -2..1.5") == 2


@pytest.mark.parametrize("glob", ["model.layers.1.*", "layers.1."])
def test_a_plot_of_some_sites(artifact, glob):
    text = inspect(artifact, "--plot", glob).stdout
    assert "model.layers.1.input_layernorm  smooth{alpha=0.5}: 3 channels" in text
    assert "layers.0" not in text


def test_json_of_a_plot_holds_what_it_draws(artifact):
    found = json.loads(inspect(artifact, "--plot", "layers.1.", "--json").stdout)["passes"]
    assert [site["module"] for p in found for site in p["changed"]] == ["model.layers.1.input_layernorm"]


def test_a_plot_of_unknown_sites_lists_those_there_are(artifact):
    result = inspect(artifact, "--plot", "mlp")
    assert result.exit_code == 2
    assert "model.layers.0.input_layernorm, model.layers.1.input_layernorm" in result.stderr


def test_a_drawing_is_one_svg_with_title_description_and_a_panel_each(artifact, tmp_path):
    file = tmp_path / "ranges.svg"
    result = inspect(artifact, "--plot-file", file)
    assert result.exit_code == 0
    assert result.stdout == ""
    root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
    assert root.find(f"{SVG}title").text == "tiny & co w4a8: channel ranges before and after passes"
    assert "2 activations" in root.find(f"{SVG}desc").text
    cells = root.findall(f"{SVG}g")
    assert [cell.find(f"{SVG}title").text for cell in cells] == [
        f"model.layers.{i}.input_layernorm: before -31.23 to 2, after -2 to 1.5" for i in range(2)
    ]
    bars_before, _, bars_after, _ = cells[0].findall(f"{SVG}path")
    assert bars_before.get("d").count("M") == bars_after.get("d").count("M") == 3
    assert bars_before.get("fill") != bars_after.get("fill")
    assert "href" not in file.read_text(encoding="utf-8")


def test_each_panel_of_a_drawing_is_scaled_to_its_own_range(artifact, tmp_path):
    inspect(artifact, "--plot", "layers.0", "--plot-file", tmp_path / "a.svg")
    (cell,) = ElementTree.parse(tmp_path / "a.svg").getroot().findall(f"{SVG}g")
    heights = [
        [float(bar.split("v")[1].split("h")[0]) for bar in path.get("d").split("M")[1:]]
        for path in cell.findall(f"{SVG}path")
        if path.get("fill")
    ]
    before, after = heights
    assert before == pytest.approx([2 / 33.23 * 90, 90, 2.5 / 33.23 * 90], abs=0.1)  # the outlier takes it all
    assert after == pytest.approx([2 / 3.5 * 90, 3 / 3.5 * 90, 2.5 / 3.5 * 90], abs=0.1)


@pytest.mark.parametrize("words", [("--plot-file", "ranges.png"), ("--plot-file", "no/such/folder/a.svg")])
def test_a_drawing_that_cannot_be_written(artifact, words):
    result = inspect(artifact, *words)
    assert result.exit_code in (2, 5)
    assert words[1] in result.stderr


def test_an_artifact_without_the_file(artifact):
    (artifact / "passes.json").unlink()
    for words in (["--passes"], ["--plot"]):
        result = inspect(artifact, *words)
        assert result.exit_code == 6
        assert "compile it again" in result.stderr


def test_passes_that_measured_nothing_cannot_be_drawn(artifact):
    write_passes([Report("merge-linears", (Site("a", "x"),))], artifact)
    result = inspect(artifact, "--plot")
    assert result.exit_code == 2
    assert "no pass measured" in result.stderr


def test_bars_keep_the_largest_where_there_is_no_room():
    assert bars([1.0] * 10 + [8.0] + [1.0] * 9, 5, "12345678") == "11811"
    assert bars([0.0, 0.0], 5, "12345678") == "11"
