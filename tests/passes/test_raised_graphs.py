"""Whole pipelines on graphs as the frontend raises them, kept as text: packed weights, biases, windows."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeq.ir.text import parse, show

GRAPHS = sorted((Path(__file__).parent / "graphs").glob("*.eqir"))
PIPELINE = "add-cache{context=32},last-row,merge-linears,quantize{bits=w8a8}"


@pytest.fixture(params=GRAPHS, ids=lambda path: path.stem)
def graph(request) -> str:
    return "".join(line for line in request.param.open() if not line.startswith("#"))


def test_text_round_trips(graph):
    assert show(parse(graph)) == graph


def test_the_pipeline_gives_valid_graphs_without_float_linears(graph, after, lines):
    text, reports = after(graph, PIPELINE)
    layers = graph.count("edgeq.attention(")
    assert text.count("edgeq.cached_attention(") == layers
    assert not lines(text, "aten.linear", "edgeq.attention(")
    assert len(reports[0].changed) == layers
    head = [line for line in text.splitlines() if "edgeq.qlinear" in line][-1]
    assert "f32[1, 1, " in head


def test_every_attention_reads_one_merged_linear(graph, after, lines):
    text, (report,) = after(graph, "merge-linears")
    layers = graph.count("edgeq.attention(")
    assert len(report.changed) >= layers
    assert not report.declined
    assert len(lines(text, "aten.linear")) < len(lines(graph, "aten.linear"))


def test_specialised_entries_have_no_symbols(graph, after):
    text, _ = after(graph, f"{PIPELINE},specialise{{rows=4}}")
    assert "[1, s" not in text
