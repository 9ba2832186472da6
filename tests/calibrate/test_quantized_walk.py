"""The quantized stream: chosen linears compute as they will be stored, and a block can run again."""

from __future__ import annotations

import torch
from small_decoder import Weights, samples, two_layers
from torch import fx

from edgeq.calibrate.blocks import activations, blocks
from edgeq.calibrate.quantized_walk import QuantizedWalk
from edgeq.calibrate.walk import Walk
from edgeq.ir.graph import arguments, calls, insert
from edgeq.ir.values import weight_value
from edgeq.passes.folds.folding import table
from edgeq.quant.simulate import QuantSpec, fake_tokens

W4A8 = QuantSpec(4, 32, act="token")


def everything(gm, walk):
    found = [walk.run(block) for block in blocks(gm)]
    return {node: values for part in found for node, values in part.items()}


def quantized(gm, weights, given, quant=W4A8):
    walk = QuantizedWalk(gm, weights, given, set(activations(gm)), lambda node: quant)
    for node in calls(gm, "aten.linear"):
        walk.chosen[node] = quant.weight(weight_value(arguments(node)["weight"], weights))
    return walk


def test_without_choices_it_is_the_float_walk():
    gm, given = two_layers(), samples()
    shown, weights = set(activations(gm)), Weights(gm)
    own = everything(gm, QuantizedWalk(gm, weights, given, shown, lambda node: W4A8))
    plain = everything(gm, Walk(gm, weights, given, shown))
    assert all(torch.equal(a, b) for node in plain for a, b in zip(own[node], plain[node], strict=True))


def test_chosen_linears_read_quantized_activations_and_weights():
    gm, given = two_layers(), samples()
    weights = Weights(gm)
    found = everything(gm, quantized(gm, weights, given))
    for node in calls(gm, "aten.linear"):
        w = W4A8.weight(weight_value(arguments(node)["weight"], weights))
        for x, y in zip(found[arguments(node)["input"]], found[node], strict=True):
            assert torch.equal(y, fake_tokens(x) @ w.T)


def test_float_weights_of_chosen_linears_are_not_read():
    gm, given = two_layers(), samples()
    walk = quantized(gm, Weights(gm), given)
    counted = walk._weights
    counted.reads.clear()
    everything(gm, walk)
    assert not [name for name in counted.reads if "proj" in name]


def test_a_static_range_is_not_quantized_again():
    gm, given = two_layers(), samples()
    weights = Weights(gm)
    down = next(node for node in calls(gm, "aten.linear") if node.name == "down")
    scale = table(gm, torch.tensor([0.5]), down)
    with gm.graph.inserting_before(down):
        down.update_arg(0, insert(gm.graph, "edgeq.fake_quant", down.args[0], scale, like=down))
    quant = QuantSpec(4, 32, act="token", act_bits=4)
    found = everything(gm, quantized(gm, weights, given, quant))
    ranged, w = arguments(down)["input"], quant.weight(weight_value(arguments(down)["weight"], weights))
    assert torch.equal(found[down][0], found[ranged][0] @ w.T)
    assert not torch.equal(found[down][0], fake_tokens(found[ranged][0], 4) @ w.T)


def test_a_block_runs_again_from_a_snapshot():
    gm, given = two_layers(), samples()
    walk, (first, second, *_) = quantized(gm, Weights(gm), given), blocks(gm)
    walk.run(first)
    here = walk.snapshot()
    once = walk.run(second)
    for _ in range(2):
        walk.restore(here)
        again = walk.run(second)
        assert all(torch.equal(a, b) for node in once for a, b in zip(once[node], again[node], strict=True))
    walk.restore(here)
    walk.chosen = {}
    other = walk.run(second)
    assert any(not torch.equal(once[node][0], other[node][0]) for node in once if isinstance(node, fx.Node))
