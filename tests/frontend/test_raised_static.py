"""Static entries raised to the dialect: equal to the eager model, and of the shapes that lowering wants."""

from __future__ import annotations

import entry_zoo as zoo
import pytest
import torch
from torch import Tensor, fx, nn

from edgeq.frontend.entries import EntryGraph, Shapes, export_entries
from edgeq.frontend.graph import raise_graph
from edgeq.ir.graph import arguments, calls, is_weight, op
from edgeq.ir.verify import verify

TEXTS = ["bert", "bert_classifier", "bert_masked", "roberta", "distilbert", "modernbert", "clip_text"]
IMAGES = ["vit", "deit", "dinov2", "resnet", "detr"]


def entries(name: str, shapes: Shapes) -> dict[str, EntryGraph]:
    """Every entry, raised."""
    found = export_entries(zoo.config(name), {}, shapes)
    for entry in found:
        raise_graph(entry.gm)
    return {entry.name: entry for entry in found}


def computed(gm: fx.GraphModule) -> list[str]:
    """Ops over activations."""
    return [op(node) for node in gm.graph.nodes if node.op == "call_function" and not is_weight(node)]


def check(entry: EntryGraph, eager: nn.Module, expected: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    verify(entry.gm, types=True)
    found = zoo.run(entry, eager, given)
    for port in entry.outputs:
        assert tuple(found[port.name].shape) == port.shape
        want = expected[port.name]
        torch.testing.assert_close(found[port.name], want, rtol=0, atol=1e-5 * float(want.abs().max()))


@pytest.mark.parametrize("name", TEXTS + IMAGES)
def test_raised_entries_equal_the_eager_model(name: str) -> None:
    torch.set_num_threads(1)
    eager = zoo.model(name)
    for entry in entries(name, Shapes(batch=(1, 2), lengths=(9,))).values():
        given = zoo.example(entry)
        with torch.no_grad():
            check(entry, eager, dict(eager(**given).items()), given)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_raised_towers_equal_the_eager_model(name: str) -> None:
    eager, found = zoo.model(name), entries(name, Shapes(batch=(1, 3), lengths=(8,)))
    for suffix in ("", "x3"):
        text, image = found["text_8" + suffix], found["image" + suffix]
        given = zoo.example(text) | zoo.example(image)
        with torch.no_grad():
            expected = eager(**given)
        check(text, eager, expected, given)
        check(image, eager, expected, given)


@pytest.mark.parametrize("batch", [1, 2])
def test_raised_segmentation_equals_the_eager_model(batch: int) -> None:
    eager, found = zoo.model("sam"), entries("sam", Shapes(batch=(batch,), points=3))
    image, prompt, mask = found.values()
    given = zoo.example(image) | zoo.example(prompt)
    kept = zoo.run(image, eager, given) | zoo.run(prompt, eager, given)
    with torch.no_grad():
        check(mask, eager, dict(eager(**given, multimask_output=True).items()), kept)
    verify(image.gm, types=True)
    verify(prompt.gm, types=True)


def test_text_encoder_is_linears_attention_and_norms() -> None:
    gm = entries("bert", Shapes(batch=(2,), lengths=(9,)))["text_9x2"].gm
    layer = [
        "aten.linear", "aten.linear", "aten.linear", "edgeq.attention", "aten.linear", "aten.add", "aten.layer_norm",
        "aten.linear", "aten.gelu", "aten.linear", "aten.add", "aten.layer_norm",
    ]  # fmt: skip
    head = ["aten.embedding", "aten.embedding", "aten.add", "aten.add", "aten.layer_norm"]
    assert sorted(computed(gm)) == sorted([*head, *layer, *layer, "aten.select", "aten.linear", "aten.tanh"])
    pads = {arguments(node)["pad"] for node in calls(gm, "edgeq.attention")}
    assert [pad.target for pad in pads] == ["attention_mask"]


def test_causal_text_tower() -> None:
    gm = entries("clip_text", Shapes(lengths=(9,)))["text_9"].gm
    assert all(arguments(node)["causal"] and arguments(node)["pad"] for node in calls(gm, "edgeq.attention"))


def test_vision_transformer_starts_with_patches_and_a_linear() -> None:
    gm = entries("vit", Shapes(batch=(2,)))["imagex2"].gm
    assert computed(gm)[:5] == ["aten.permute", "edgeq.im2col", "aten.linear", "aten.reshape", "aten.cat"]
    assert set(computed(gm)[5:]) == {
        "aten.add", "aten.layer_norm", "aten.linear", "edgeq.attention", "aten.gelu", "aten.select",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["bert", "vit", "modernbert", "clip_text"])
def test_values_of_attention_come_straight_from_linears(name: str) -> None:
    for entry in entries(name, Shapes(lengths=(9,))).values():
        assert all(op(arguments(node)["v"]) == "aten.linear" for node in calls(entry.gm, "edgeq.attention"))


def test_layer_scales_are_folded_into_linears() -> None:
    gm = entries("dinov2", Shapes())["image"].gm
    assert "aten.mul" not in computed(gm)


def test_residual_network_keeps_channels_last_and_folds_its_norms() -> None:
    gm = entries("resnet", Shapes(batch=(2,), image_size=(33, 47)))["imagex2"].gm
    found = computed(gm)
    assert not {"aten.conv2d", "aten.batch_norm", "aten.mul", "aten.max_pool2d"} & set(found)
    assert found.count("aten.permute") == 1
    assert len(calls(gm, "aten.linear")) == 12  # 11 convolutions and the classifier
    assert all(arguments(node)["bias"] is not None for node in calls(gm, "aten.linear"))


def test_positions_on_a_grid_are_two_biases() -> None:
    gm = entries("sam", Shapes(batch=(2,)))["imagex2"].gm
    windowed, whole = (arguments(node) for node in calls(gm, "edgeq.attention"))
    assert tuple(windowed["q"].meta["val"].shape) == (2 * 9, 9, 32)
    assert tuple(windowed["row_bias"].meta["val"].shape) == (2 * 9, 4, 9, 3)
    assert tuple(whole["column_bias"].meta["val"].shape) == (2, 4, 64, 8)
    assert windowed["bias"] is None
    assert all(op(given[x]) == "aten.linear" for given in (windowed, whole) for x in "qkv")
