"""The reference executor against the ops that it replaces, and against plain torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgeq.errors import ContextError, UsageError
from edgeq.ir.execute import Reference
from edgeq.ir.graph import calls, inputs, value
from edgeq.ir.ops.matrix import IntegerMatrix, prepare, quantize_tokens
from edgeq.ir.text import parse
from edgeq.passes.pipeline import parse_pipeline, run_pipeline

LLAMA = (Path(__file__).parents[1] / "passes" / "graphs" / "llama.eqir").read_text()
TOKENS = [3, 99, 0, 42, 7, 7, 120, 64, 5]


class Random:
    """Seeded weights by name, and a count of reads."""

    def __init__(self, gm):
        generator = torch.Generator().manual_seed(0)
        nodes = [node for node in gm.graph.nodes if node.op == "get_attr"]
        self.tensors = {
            node.target: torch.randn(value(node).shape, generator=generator) * 0.2 for node in nodes
        }
        self.reads = 0

    def read(self, name):
        self.reads += 1
        return self.tensors[name]


def compiled(bits):
    gm = parse(LLAMA)
    weights = Random(gm)
    run_pipeline(gm, parse_pipeline(f"add-cache{{context=16,kv=f32}},last-row,merge-linears,quantize{{bits={bits}}}"))
    return gm, weights


def float_logits():
    gm = parse(LLAMA)
    weights = Random(gm)
    for name, tensor in weights.tensors.items():
        folder, leaf = name.rsplit(".", 1)
        setattr(gm.get_submodule(folder), leaf, tensor)
    return gm(torch.tensor([TOKENS]), torch.arange(len(TOKENS))[None])[0]


def test_fp32_equals_the_uncached_graph_in_any_chunks():
    gm, weights = compiled("fp32")
    whole = Reference(gm, weights).forward(TOKENS)
    assert torch.allclose(whole, float_logits(), atol=1e-5)
    steps = Reference(gm, weights, rows=2)
    parts = [steps.forward(TOKENS[:5]), steps.forward(TOKENS[5:6]), steps.forward(TOKENS[6:])]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-5)


@pytest.mark.parametrize("bits", ["w8a8", "w4a8g32a", "w4a16"])
def test_quantized_equals_the_graph_run_by_its_ops(bits):
    gm, weights = compiled(bits)
    seen = {}
    got = Reference(gm, weights).forward(TOKENS, lambda node, held: seen.setdefault(node.name, held))
    assert got.shape == (len(TOKENS), 128)
    assert not torch.allclose(got, float_logits(), atol=1e-4)
    assert (got - float_logits()).abs().mean() < 0.2 * float_logits().abs().mean()
    for node in calls(gm, "edgeq.qlinear")[:2]:
        w = torch.cat([weights.tensors[part.target] for part in node.args[1].all_input_nodes or [node.args[1]]])
        assert torch.equal(seen[node.name], node.target(seen[node.args[0].name], w, **node.kwargs))


def test_weights_are_read_once_and_a_context_is_kept():
    gm, weights = compiled("w4a8")
    reference = Reference(gm, weights)
    first = reference.forward(TOKENS[:4])
    reads = weights.reads
    reference.forward(TOKENS[4:])
    assert weights.reads == reads
    with pytest.raises(ContextError, match="caches hold 16"):
        reference.forward([0] * 8)
    reference.reset()
    assert torch.equal(reference.forward(TOKENS[:4]), first)


def test_uncached_graphs_are_refused():
    with pytest.raises(UsageError, match="add-cache"):
        Reference(parse(LLAMA), None)
    assert "input_ids" in inputs(parse(LLAMA))


@pytest.mark.parametrize("weight, columns", [("w4g32", 80), ("w8", 2048), ("w8g64a", 80), ("w4g128a", 144)])
def test_integer_matrix_is_the_exact_sum(weight, columns):
    torch.manual_seed(0)
    w, x = torch.randn(8, columns), torch.randn(3, columns)
    matrix = prepare(w, weight, "a8")
    assert isinstance(matrix, IntegerMatrix)
    codes, scale = quantize_tokens(x)
    stored = prepare(w, weight, "a16").values
    want = codes.double() @ stored.double().T * scale.double()[:, None]
    assert torch.allclose(matrix.apply(x).double(), want, rtol=1e-5, atol=1e-5)
    assert torch.equal(matrix.rows(torch.tensor([[2, 5]]))[0], stored[[2, 5]])


def test_float_weights_refuse_integer_activations():
    with pytest.raises(UsageError, match="take activations a16"):
        prepare(torch.ones(16, 16), "f16", "a8")
