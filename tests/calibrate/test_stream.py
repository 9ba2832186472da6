"""Streams show what a walk over the whole graph computes, read weights once a block, and keep one block's values."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from small_decoder import Weights, samples, two_layers
from torch import Tensor, fx

from edgeq.calibrate.blocks import activations
from edgeq.calibrate.samples import Sample
from edgeq.calibrate.stream import Captured, stream
from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, insert, is_weight, op
from edgeq.ir.values import call, weight_value

NORMS = ("edgeq.rms_norm", "edgeq.gated", "edgeq.attention")


def everything(node: fx.Node) -> bool:
    return True


def measured(node: fx.Node) -> bool:
    return op(node) in NORMS


def whole(gm: fx.GraphModule, weights: Weights, sample: Sample) -> dict[fx.Node, Any]:
    known: dict[fx.Node, Any] = {}
    for node in gm.graph.nodes:
        if node.op == "placeholder":
            known[node] = sample.inputs[str(node.target)]
        elif is_weight(node):
            known[node] = weight_value(node, weights)
        elif node.op != "output":
            known[node] = call(node, known.__getitem__)
    return known


def streamed(gm: fx.GraphModule, weights: Weights, given: list[Sample], wanted=everything, **options):
    """Node -> values, and the blocks visited."""
    found: dict[fx.Node, list[Tensor]] = {}
    visited: list[int] = []

    def visit(block, captured):
        visited.append(block.index)
        found.update({node: captured.values(node) for node in block.nodes if node in captured})

    stream(gm, weights, given, wanted, visit, **options)
    return found, visited


def test_every_activation_equals_a_walk_over_the_whole_graph():
    gm = two_layers()
    weights, given = Weights(gm), samples()
    found, visited = streamed(gm, weights, given)
    assert set(found) == set(activations(gm)) and visited == list(range(5))
    for i, sample in enumerate(given):
        known = whole(gm, weights, sample)
        assert all(torch.equal(values[i], known[node]) for node, values in found.items())


def test_a_samples_values_do_not_depend_on_how_many_there_are():
    gm = two_layers()
    weights, given = Weights(gm), samples()
    together, _ = streamed(gm, weights, given, measured)
    alone, _ = streamed(gm, weights, given[1:2], measured)
    assert all(torch.equal(together[node][1], values[0]) for node, values in alone.items())


def test_weights_are_read_once_a_block_and_embeddings_by_rows():
    gm = two_layers()
    weights = Weights(gm)
    weights.tensors["model.embed_tokens.weight"] = torch.randn(128, 64)
    streamed(gm, weights, samples(4, 6), measured)
    assert set(weights.reads.values()) == {1, 2}  # both layers have the same weights; the last norm has its own
    assert weights.reads["model.layers.0.mlp.up_proj.weight"] == 2
    assert weights.reads["model.embed_tokens.weight"] == 0 and weights.rows["model.embed_tokens.weight"] <= 4 * 6


def test_nothing_is_computed_that_the_wanted_nodes_do_not_need():
    gm = two_layers()
    weights = Weights(gm)
    first = calls(gm, "edgeq.rms_norm")[0]
    found, visited = streamed(gm, weights, samples(1), lambda node: node is first)
    assert visited == [0] and list(found) == [first]
    assert "model.layers.0.self_attn.q_proj.weight" not in weights.reads


def test_last_leaves_out_what_follows():
    gm = two_layers()
    found, visited = streamed(gm, Weights(gm), samples(1), measured, last=calls(gm, "edgeq.gated")[0])
    assert visited == [0, 1] and len(found) == 4


def test_a_visit_may_rewrite_the_graph():
    gm, untouched = two_layers(), two_layers()
    weights, given = Weights(gm), samples(2)
    found: dict[str, Tensor] = {}

    def visit(block, captured):
        for node in [node for node in block.nodes if node in captured]:
            found[node.name] = torch.cat(captured.values(node))
            for linear in [user for user in node.users if op(user) == "aten.linear"]:
                with gm.graph.inserting_before(linear):  # as a fold does, without undoing it
                    doubled = insert(gm.graph, "aten.mul.Tensor", arguments(linear)["weight"], 2.0)
                linear.update_arg(1, doubled)

    stream(gm, weights, given, measured, visit)
    expected, _ = streamed(untouched, weights, given, measured)
    assert all(torch.equal(found[node.name], torch.cat(values)) for node, values in expected.items())


def test_one_blocks_values_are_in_memory():
    gm = two_layers()
    kept: list[weakref.ref[Tensor]] = []
    late: list[str] = []

    class Watched(Weights):
        def read(self, name: str, rows: slice | None = None) -> Tensor:
            late.extend(name for ref in kept if ref() is not None)
            return super().read(name, rows)

    def visit(block, captured):
        kept.extend(weakref.ref(t) for node in block.nodes if node in captured for t in captured.values(node))

    stream(gm, Watched(gm), samples(), measured, visit)
    assert kept and not late


def test_rows_leave_out_what_does_not_count():
    counted = torch.tensor([False, True, True])
    node = two_layers().graph.find_nodes(op="placeholder")[0]
    values = [torch.arange(6.0).reshape(1, 3, 2), torch.arange(8.0).reshape(2, 2, 2)]
    captured = Captured([Sample({}, counted)] * 2, {node: values})
    assert captured.rows(node)[0].tolist() == [[2, 3], [4, 5]]
    assert captured.rows(node)[1].shape == (4, 2)  # windows: other rows than tokens, all of them count


def test_progress_counts_blocks():
    gm = two_layers()
    seen: list[tuple[str, int, int]] = []
    streamed(gm, Weights(gm), samples(1), everything, progress=lambda *step: seen.append(step), stage="smooth")
    assert seen == [("smooth", i, 5) for i in range(6)]


def test_samples_that_do_not_fit_are_refused():
    gm = two_layers()
    with pytest.raises(UsageError, match="none that this graph takes"):
        streamed(gm, Weights(gm), [])
    lacking = Sample({"input_ids": torch.zeros(1, 4, dtype=torch.int64)}, torch.ones(4, dtype=torch.bool))
    with pytest.raises(UsageError, match="lack what the graph takes: position_ids"):
        streamed(gm, Weights(gm), [lacking])


def test_nothing_wanted_is_nothing_done():
    gm = two_layers()
    weights = Weights(gm)
    assert streamed(gm, weights, [], lambda node: False) == ({}, []) and not weights.reads
