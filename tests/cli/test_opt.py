"""`edgeq opt`: text and models in, text out."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from edgeq.cli import opt
from edgeq.cli.app import app
from edgeq.passes import PASSES

GRAPH = """%x = input : f32[1, 4, 32]
%up_weight = weight up.weight : f32[64, 32]
%up = aten.linear(%x, %up_weight) : f32[1, 4, 64] @ up
return %up
"""


def edgeq(*words, text=None):
    return CliRunner().invoke(app, [str(word) for word in words], input=text)


def test_text_prints_as_it_was_read(tmp_path):
    (tmp_path / "graph.eqir").write_text(GRAPH)
    from_file = edgeq("opt", tmp_path / "graph.eqir")
    from_stdin = edgeq("opt", "-", text=GRAPH)
    assert from_file.stdout.strip() == from_stdin.stdout.strip() == GRAPH.strip()


def test_a_pass_runs_and_the_result_is_written(tmp_path):
    out = tmp_path / "out.eqir"
    result = edgeq("opt", "-", "-p", "quantize{bits=w8a8}", "-o", out, text=GRAPH)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "qlinear" in out.read_text()


def test_json_is_one_object():
    report = json.loads(edgeq("opt", "-", "--json", text=GRAPH).stdout)
    assert report["ir"].strip() == GRAPH.strip()
    assert report["pipeline"] == ""


def test_a_model_is_imported(tiny_model):
    result = edgeq("opt", tiny_model)
    assert result.exit_code == 0
    assert "@ model.layers.1.mlp.down_proj" in result.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [(("-p", "no-such-pass"), 2), (("-p", "quantize{bits=w9}"), 2), (("-o", "no/such/folder/x"), 5)],
)
def test_errors(words, code):
    assert edgeq("opt", "-", *words, text=GRAPH).exit_code == code


def test_text_that_does_not_parse_is_2():
    result = edgeq("opt", "-", text="%x = soup(\n")
    assert result.exit_code == 2
    assert result.stdout == ""


def test_examples_name_passes_that_exist():
    names = {name for line in opt.EXAMPLES for name in re.findall(r"(?:-p |,)([a-z-]+)(?=[{,]|$| )", line)}
    assert names
    assert names <= set(PASSES)
