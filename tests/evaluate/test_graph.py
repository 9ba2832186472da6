"""Graphs scored as artifacts are, without kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from edgeq.errors import UsageError
from edgeq.evaluate.graph import GraphModel, graph_logits, head_of, rounded
from edgeq.evaluate.hf import float_logits
from edgeq.evaluate.perplexity import perplexity
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.source import open_model
from edgeq.ir.execute import Reference
from edgeq.ir.graph import arguments, calls, op
from edgeq.ir.ops.matrix import quantize_tokens
from edgeq.ir.values import weight_value
from edgeq.passes.grids import put_on_grid
from edgeq.passes.pass_ import Context
from edgeq.passes.pipeline import parse_pipeline, run_pipeline
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import quantize
from tests.tiny import write_tiny_llama

TOKENS = np.random.default_rng(0).integers(0, 250, 96).tolist()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_llama(tmp_path_factory.mktemp("tiny") / "llama")


def graph(folder, passes: str = ""):
    source = open_model(str(folder))
    gm = load_entries(source, Shapes())[0].gm
    run_pipeline(gm, parse_pipeline(passes), Context(source.weights))
    return gm, source.weights


class Counted:
    """Weights that count reads by name."""

    def __init__(self, weights) -> None:
        self.weights, self.reads = weights, []

    def read(self, name, rows=None):
        self.reads.append(name)
        return self.weights.read(name, rows)


def test_a_float_graph_is_the_model(folder) -> None:
    expected = float_logits(LlamaForCausalLM.from_pretrained(folder))
    found = graph_logits(*graph(folder))(TOKENS)
    assert found.shape == (48, 272)
    np.testing.assert_allclose(found, expected(TOKENS)[-48:], atol=2e-4, rtol=1e-4)
    ours, theirs = (perplexity(f, TOKENS, None, 32) for f in (graph_logits(*graph(folder)), expected))
    assert ours.perplexity == pytest.approx(theirs.perplexity, rel=1e-5)


@pytest.mark.parametrize("bits", ["w4a8", "w8a8g64a", "w4a16", "fp16"])
def test_a_quantized_graph_gives_what_kernels_must(folder, bits: str) -> None:
    found = graph_logits(*graph(folder, f"merge-linears,quantize{{bits={bits}}}"))(TOKENS)
    cached = graph(folder, f"add-cache{{kv=f32,context=128}},merge-linears,quantize{{bits={bits}}}")
    expected = Reference(*cached).forward(TOKENS)[-48:].numpy()
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()  # int8 steps fall apart where sums round
    assert np.abs(found - expected).mean() < 2e-3 * np.abs(expected).max()


def test_stored_numbers_are_taken_as_they_are(folder) -> None:
    gm, weights = graph(folder)
    fmt = WeightFormat.parse("w3g32a")
    for linear in calls(gm, "aten.linear")[:-1]:
        weight = weight_value(arguments(linear)["weight"], weights)
        put_on_grid(gm, linear, *(torch.from_numpy(t) for t in quantize(weight, fmt, "mse")), fmt)
    float_grid = graph_logits(gm, weights)(TOKENS)
    run_pipeline(gm, parse_pipeline("quantize{bits=w4a16headfp32},merge-linears"), Context(weights))
    stored = graph_logits(gm, weights)(TOKENS)
    assert {arguments(node)["weight"] for node in calls(gm, "edgeq.qlinear")} == {"w3g32a", "f32"}
    np.testing.assert_allclose(stored, float_grid, atol=1e-4 * np.abs(stored).max())


def test_weights_are_read_once(folder) -> None:
    gm, weights = graph(folder, "merge-linears,quantize{bits=w4a8}")
    counted = Counted(weights)
    logits = graph_logits(gm, counted)
    logits(TOKENS)
    once = list(counted.reads)
    logits(TOKENS[:40])
    assert counted.reads == once
    assert len(once) == len(set(once))


def test_only_scored_rows_go_through_the_head(folder) -> None:
    gm, weights = graph(folder, "quantize{bits=w8a8}")
    model = GraphModel(gm, weights)
    given = {"input_ids": torch.tensor([TOKENS]), "position_ids": torch.arange(96)[None]}
    assert op(head_of(gm)) == "edgeq.qlinear"
    whole, part = model.run(given)[0], model.run(given, slice(90, None))[0]
    assert part.shape == (1, 6, 272)
    torch.testing.assert_close(part, whole[:, 90:])


def test_activations_are_on_their_grid() -> None:
    x = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    codes, scale = quantize_tokens(x)
    torch.testing.assert_close(rounded(x, "a8"), codes * scale[:, None])
    assert max(len(row.unique()) for row in rounded(x, "a4")) <= 15
    assert rounded(x, "a16") is x
    torch.testing.assert_close(rounded(x, "a8s", torch.tensor([0.25])), torch.round(x * 4) / 4)
    with pytest.raises(UsageError, match="a9x"):
        rounded(x, "a9x")


def test_cached_and_other_graphs_are_refused(folder) -> None:
    with pytest.raises(UsageError, match="n_valid"):
        graph_logits(*graph(folder, "add-cache{context=64}"))
    with pytest.raises(UsageError, match="before add-cache"):
        GraphModel(*graph(folder, "add-cache{context=64}"))
    with pytest.raises(UsageError, match="position_ids"):
        GraphModel(*graph(folder)).run({"input_ids": torch.tensor([TOKENS])})
