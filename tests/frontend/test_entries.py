"""Static entries as exported: every output of every architecture equals the eager Hugging Face model's."""

from __future__ import annotations

import entry_zoo as zoo
import pytest
import torch
import trace_semantics  # noqa: F401  (gives the traced ops a meaning)
import transformers
from torch import Tensor, nn

from edgeq.errors import UnsupportedError, UsageError
from edgeq.frontend.entries import EntryGraph, Port, Shapes, export_entries, load_entries
from edgeq.frontend.export import attribute
from edgeq.frontend.source import Source

TEXTS = ["bert", "bert_classifier", "bert_masked", "roberta", "distilbert", "modernbert"]
TEXTS += ["mpnet", "t5_encoder", "clip_text"]
IMAGES = ["vit", "deit", "dinov2", "swin", "resnet", "detr"]


def entries(name: str, shapes: Shapes) -> dict[str, EntryGraph]:
    return {entry.name: entry for entry in export_entries(zoo.config(name), {}, shapes)}


def check(entry: EntryGraph, eager: nn.Module, expected: dict[str, Tensor], given: dict[str, Tensor]) -> None:
    found = zoo.run(entry, eager, given)
    for port in entry.outputs:
        assert tuple(found[port.name].shape) == port.shape
        torch.testing.assert_close(found[port.name], expected[port.name], rtol=1e-5, atol=1e-5)


def check_all(name: str, shapes: Shapes) -> None:
    eager = zoo.model(name)
    for entry in entries(name, shapes).values():
        given = zoo.example(entry)
        with torch.no_grad():
            check(entry, eager, dict(eager(**given).items()), given)


@pytest.mark.parametrize("name", TEXTS)
def test_text_entries_equal_the_eager_model(name: str) -> None:
    check_all(name, Shapes(batch=(1, 2), lengths=(9,)))


@pytest.mark.parametrize("name", IMAGES)
def test_image_entries_equal_the_eager_model(name: str) -> None:
    check_all(name, Shapes(batch=(1, 2)))


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_two_towers_equal_the_whole_model(name: str) -> None:
    eager, found = zoo.model(name), entries(name, Shapes(batch=(1, 3), lengths=(8,)))
    assert list(found) == ["text_8", "text_8x3", "image", "imagex3"]
    for suffix in ("", "x3"):
        text, image = found["text_8" + suffix], found["image" + suffix]
        given = zoo.example(text) | zoo.example(image)
        with torch.no_grad():
            expected = eager(**given)
        assert [port.name for port in text.outputs + image.outputs] == ["text_embeds", "image_embeds"]
        check(text, eager, expected, given)
        check(image, eager, expected, given)


@pytest.mark.parametrize("batch", [1, 2])
def test_segmentation_in_three_steps_equals_the_whole_model(batch: int) -> None:
    eager, found = zoo.model("sam"), entries("sam", Shapes(batch=(batch,), points=3))
    image, prompt, mask = found.values()
    given = zoo.example(image) | zoo.example(prompt)
    kept = zoo.run(image, eager, given) | zoo.run(prompt, eager, given)
    with torch.no_grad():
        check(mask, eager, dict(eager(**given, multimask_output=True).items()), kept)
    assert {port.name: port.shape for port in mask.inputs} == {name: tuple(kept[name].shape) for name in kept}


def test_ports_are_typed_and_named_as_the_model_does() -> None:
    entry = entries("bert", Shapes(batch=(2,), lengths=(9,)))["text_9x2"]
    assert (entry.base, entry.kind, entry.batch, entry.length) == ("text", "static", 2, 9)
    names = ("input_ids", "attention_mask", "token_type_ids")
    assert entry.inputs == tuple(Port(name, "i32", (2, 9)) for name in names)
    assert entry.outputs == (Port("last_hidden_state", "f32", (2, 9, 64)), Port("pooler_output", "f32", (2, 64)))


def test_weights_have_checkpoint_names_and_stay_unread() -> None:
    gm = entries("resnet", Shapes(image_size=(33, 47)))["image"].gm
    names = {str(node.target) for node in gm.graph.nodes if node.op == "get_attr"}
    assert "resnet.embedder.embedder.normalization.running_var" in names
    assert names <= set(zoo.model("resnet").state_dict())
    assert all(attribute(gm, name).device.type == "meta" for name in names)


def test_images_of_another_size_resize_the_position_embeddings() -> None:
    eager, entry = zoo.model("vit"), entries("vit", Shapes(image_size=(40, 24)))["image"]
    given = zoo.example(entry)
    with torch.no_grad():
        check(entry, eager, dict(eager(**given, interpolate_pos_encoding=True).items()), given)


def test_lengths_beyond_the_positions_are_refused() -> None:
    with pytest.raises(UsageError, match="length 63 is beyond the 62 positions"):
        entries("roberta", Shapes(lengths=(62, 63)))


def refusal(cls: str, name: str, **options: object) -> str:
    config = getattr(transformers, name)(**options, architectures=[cls])
    with pytest.raises(UnsupportedError) as caught:
        load_entries(Source(name, config, None), Shapes(lengths=(7,)))
    return str(caught.value)


def test_experts_of_a_classifier_are_listed() -> None:
    options = {**zoo.SIZES, "num_hidden_layers": 1, "num_local_experts": 2, "num_key_value_heads": 2}
    text = refusal("MixtralForSequenceClassification", "MixtralConfig", **options)
    assert text.startswith("entry text_7 of mixtral leaves")
    assert "aten.topk: model.layers.0.mlp.gate" in text and "aten.sort: model.layers.0.mlp.experts" in text


def test_random_numbers_are_refused() -> None:
    assert "random numbers: embeddings" in refusal("ViTMAEModel", "ViTMAEConfig", **zoo.IMAGE)


def test_models_of_sound_say_what_they_take() -> None:
    text = refusal("Wav2Vec2Model", "Wav2Vec2Config", num_hidden_layers=1)
    assert "Wav2Vec2Model takes" in text and "input_values" in text
