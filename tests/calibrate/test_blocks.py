"""Blocks end where little is alive, hold each activation once, and never part a linear from what it reads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import entry_zoo
import pytest
import static_zoo
from frontend_zoo import config
from small_decoder import GRAPHS, two_layers
from torch import fx

from edgeq.calibrate.blocks import Block, activations, blocks
from edgeq.frontend.entries import Shapes, load_entries
from edgeq.frontend.graph import raised_graph
from edgeq.ir.graph import calls, op
from edgeq.ir.text import parse
from edgeq.ir.verify import verify

NORMS = ("edgeq.rms_norm", "aten.layer_norm")
MIXES = ("edgeq.attention", "edgeq.gated", "aten.gelu")


def entries(name: str) -> dict[str, fx.GraphModule]:
    made = static_zoo.ZOO[name].config() if name == "bart" else entry_zoo.config(name)
    source: Any = SimpleNamespace(config=made, assets={}, extras={})
    return {entry.name: entry.gm for entry in load_entries(source, Shapes(lengths=(9,), points=2))}


def check(gm: fx.GraphModule) -> list[Block]:
    """What holds of all graphs."""
    found = blocks(gm)
    assert [node for block in found for node in block.nodes] == activations(gm)
    assert [block.index for block in found] == list(range(len(found)))
    for block in found:
        earlier = {node for one in found[: block.index] for node in one.nodes}
        read = {source for node in block.nodes for source in node.all_input_nodes}
        assert set(block.inputs) == read & earlier
        later = {user for node in block.nodes for user in node.users} - set(block.nodes)
        assert set(block.outputs) == {node for node in block.nodes if later & set(node.users)}
    return found


def test_a_decoder_is_cut_before_its_norms():
    gm = two_layers()
    verify(gm, types=True)
    found = check(gm)
    assert [op(block.nodes[0]) for block in found] == ["aten.embedding", *["edgeq.rms_norm"] * 4]
    assert all(len(block.inputs) <= 1 and len(block.outputs) == 1 for block in found)


@pytest.mark.parametrize("name", ["gemma3", "gpt2", "gpt_neox"])
def test_norm_attention_and_feed_forward_of_a_layer_stay_together(name):
    gm = parse((GRAPHS / f"{name}.eqir").read_text())
    found = check(gm)
    assert len(found) >= 2
    where = {node: block.index for block in found for node in block.nodes}
    for mix in calls(gm, *MIXES):
        assert {where[source] for source in mix.all_input_nodes if source in where} <= {where[mix]}


@pytest.mark.parametrize("name, least", [("opt", 5), ("gemma2", 5), ("falcon", 3)])
def test_raised_decoders(name, least):
    gm = raised_graph(config(name))
    found = check(gm)
    assert len(found) >= least
    assert all(len(block.outputs) == 1 for block in found)


@pytest.mark.parametrize("name, entry, least", [("bert", "text_9", 5), ("swin", "image", 6), ("bart", "decode", 7)])
def test_static_graphs_and_decoders_of_two(name, entry, least):
    found = check(entries(name)[entry])
    assert len(found) >= least
    assert all(any(op(node) == "aten.linear" for node in block.nodes) for block in found)


def test_padded_windows_and_streams_of_two_lengths():
    graphs = entries("sam")
    found = check(graphs["image"])
    where = {node: block.index for block in found for node in block.nodes}
    for attention in calls(graphs["image"], "edgeq.attention"):
        linears = [node for node in where if op(node) == "aten.linear" and where[node] == where[attention]]
        assert len(linears) == 4  # queries, keys, values, output: windows are not cut from their norm
    assert len(check(graphs["mask"])) >= 5


def test_a_graph_without_a_place_to_cut_is_one_block():
    gm = parse(
        "%x = input : f32[1, 4]\n%w = weight w : f32[4, 4]\n"
        "%a = aten.linear(%x, %w) : f32[1, 4]\n%b = aten.relu(%a) : f32[1, 4]\nreturn %b\n"
    )
    assert [len(block.nodes) for block in check(gm)] == [2]
