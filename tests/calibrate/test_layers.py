"""Blocks put together to layers."""

from __future__ import annotations

import pytest
from float64 import build
from small_decoder import two_layers

from edgeq.calibrate.blocks import activations, blocks
from edgeq.calibrate.layers import layers
from edgeq.ir.graph import calls, op
from edgeq.ir.text import parse

PLAIN = """\
%x = input : f32[1, 8, 64]
%a = weight a : f32[64, 64]
%b = weight b : f32[64, 64]
%linear = aten.linear(%x, %a) : f32[1, 8, 64]
%relu = aten.relu(%linear) : f32[1, 8, 64]
%linear_1 = aten.linear(%relu, %b) : f32[1, 8, 64]
return %linear_1
"""


def test_a_layer_holds_an_attention_and_what_follows_it():
    gm = two_layers()
    first, second = layers(blocks(gm))
    names = [[node.name for block in layer for node in block.nodes] for layer in (first, second)]
    assert names[0][0] == "embedding" and "down" in names[0] and "down_1" in names[1] and names[1][-1] == "logits"


@pytest.mark.parametrize("name", ["llama", "bert", "vit", "sam", "detr"])
def test_layers_hold_every_block_once_and_an_attention_each(name):
    for gm in build(name).graphs.values():
        found = layers(blocks(gm))
        assert [node for layer in found for block in layer for node in block.nodes] == activations(gm)
        attends = [[n for block in layer for n in block.nodes if op(n) == "edgeq.attention"] for layer in found]
        if calls(gm, "edgeq.attention"):
            assert all(attends)


def test_without_attention_a_block_is_a_layer():
    found = blocks(parse(PLAIN))
    assert layers(found) == [[block] for block in found]
