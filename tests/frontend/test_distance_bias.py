"""Biases by distance: seen by value, refused where positions matter otherwise."""

from __future__ import annotations

import pytest
import torch

from edgeq.frontend.distance_bias import KNOWN, bias_by_distance
from edgeq.frontend.rewrite import sweep
from edgeq.ir.graph import arguments, calls
from edgeq.ir.text import parse

GRAPH = """\
%input_ids = input : i64[1, s]
%x = input : f32[1, s, 16]
%table = weight bias.weight : f32[8, 2]
%size = aten.sym_size.int(%input_ids, 1) : size s
%places = aten.arange(%size) : i64[s]
%query = aten.unsqueeze(%places, 1) : i64[s, 1]
%key = aten.unsqueeze(%places, 0) : i64[1, s]
%back = aten.sub.Tensor(%query, %key) : i64[s, s]
%none = aten.mul.Tensor(%back, 0) : i64[s, s]
%first = aten.add.Tensor(%query, %none) : i64[s, s]
%second = aten.add.Tensor(%key, %none) : i64[s, s]
%kept = aten.clamp({source}, 0, 7) : i64[s, s]
%rows = aten.embedding(%table, %kept) : f32[s, s, 2]
%permute = aten.permute(%rows, [2, 0, 1]) : f32[2, s, s]
%bias = aten.unsqueeze(%permute, 0) : f32[1, 2, s, s]
%y = edgeq.attention(%x, %x, %x, None, %bias, heads=2, kv_heads=2, scale=0.5, causal={causal}) : f32[1, s, 16]
return %y
"""


def attention(source: str = "%back", causal: bool = True) -> torch.fx.Node:
    return calls(parse(GRAPH.format(source=source, causal=causal)), "edgeq.attention")[0]


def test_a_function_of_distance_becomes_one_row_a_head() -> None:
    node = attention()
    gm = node.graph.owning_module
    assert bias_by_distance(node)
    sweep(gm)
    given = arguments(node)
    assert given["bias"] is None and tuple(given["distance_bias"].meta["val"].shape) == (2, KNOWN)
    assert gm.buckets_0.tolist() == [*range(8), *[7] * (KNOWN - 8)]
    assert not calls(gm, "aten.arange", "aten.clamp", "aten.sub")


def test_both_biases_mean_the_same() -> None:
    node = attention()
    gm, x, table = node.graph.owning_module, torch.randn(1, 12, 16), torch.randn(8, 2)
    gm.bias.weight = table
    gm.recompile()
    want = gm(torch.zeros(1, 12, dtype=torch.long), x)
    assert bias_by_distance(node)
    sweep(gm)
    gm.recompile()
    assert torch.allclose(gm(torch.zeros(1, 12, dtype=torch.long), x), want, atol=1e-6)


@pytest.mark.parametrize("source, causal", [("%first", True), ("%second", True), ("%back", False)])
def test_other_biases_stay(source: str, causal: bool) -> None:
    """Of positions, or with keys ahead in sight."""
    assert not bias_by_distance(attention(source, causal))
