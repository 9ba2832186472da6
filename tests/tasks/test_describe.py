"""What a model is for, and what its run time needs, told from its entries and files."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from edgeq.errors import ModelError
from edgeq.tasks.describe import task_of

IDS = {"input_ids": (1, 32), "attention_mask": (1, 32)}
PIXELS = {"pixel_values": (1, 3, 40, 56)}
TOKENIZER = {"tokenizer.json": b"{}"}
VIT = {
    "preprocessor_config.json": b'{"image_processor_type": "ViTImageProcessor", "size": {"height": 40, "width": 56}}'
}


def config(labels: int = 2, **values):
    return SimpleNamespace(id2label={i: f"L{i}" for i in range(labels)}, vocab_size=1000, **values)


def entry(name: str, inputs: dict, outputs: dict, **facts) -> dict:
    return {"name": name, "base": name.split("_")[0], "inputs": inputs, "outputs": outputs, **facts}


def text(outputs: dict, **inputs) -> dict:
    return entry("text_32", IDS | inputs, outputs, length=32)


def image(outputs: dict, **inputs) -> dict:
    return entry("image", PIXELS | inputs, outputs)


def token(name: str) -> dict:
    return {"name": name, "kind": "token"}


SAM = [
    image({"image_embeddings": (1, 8, 4, 4)}),
    entry("prompt", {"input_points": (1, 1, 2, 2), "input_labels": (1, 1, 2)}, {"sparse_embeddings": (1, 1, 3, 8)}),
    entry("mask", {"sparse_embeddings": (1, 1, 3, 8)}, {"pred_masks": (1, 1, 3, 16, 16), "iou_scores": (1, 1, 3)}),
]
KINDS = {
    "chat": [token("token")],
    "embedding": [text({"sentence_embedding": (1, 8), "last_hidden_state": (1, 32, 8)})],
    "text-classification": [text({"logits": (1, 2)}, token_type_ids=(1, 32))],
    "token-classification": [text({"logits": (1, 32, 2)})],
    "image-classification": [image({"logits": (1, 2)})],
    "image-features": [image({"last_hidden_state": (1, 9, 8), "pooler_output": (1, 8)})],
    "two-tower": [text({"text_embeds": (1, 8)}), image({"image_embeds": (1, 8)})],
    "segmentation": SAM,
    "detection": [image({"logits": (1, 9, 3), "pred_boxes": (1, 9, 4)})],
    "encoder-decoder": [entry("encode_32", IDS, {"last_hidden_state": (1, 32, 8)}, length=32), token("decode")],
    "fill-mask": [text({"logits": (1, 32, 1000)})],
    "features": [text({"logits": (1, 32, 999)})],
}
ODD = [
    [text({"start_logits": (1, 32), "end_logits": (1, 32)})],
    [text({"last_hidden_state": (1, 32, 8)}, bbox=(1, 32, 4))],
    [image({"logits": (1, 5, 40, 56)})],
    [entry("both", IDS | PIXELS, {"logits": (1, 2)})],
]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind):
    assert task_of(config(), {}, KINDS[kind])["kind"] == kind


@pytest.mark.parametrize("entries", ODD)
def test_what_no_task_knows_is_features(entries):
    assert task_of(config(), {}, entries)["kind"] == "features"


def test_graphs_and_dictionaries_are_alike():
    port = lambda name, shape: SimpleNamespace(name=name, dtype="f32", shape=shape)  # noqa: E731
    graph = SimpleNamespace(
        name="image", base="image", kind="static", batch=1, length=0,
        inputs=(port("pixel_values", (1, 3, 40, 56)),), outputs=(port("logits", (1, 2)),),
    )  # fmt: skip
    assert task_of(config(), VIT, [graph]) == task_of(config(), VIT, KINDS["image-classification"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_section_survives_json(kind):
    task = task_of(config(), TOKENIZER | VIT, KINDS[kind], read_weight=lambda name: np.float32(2.5))
    assert json.loads(json.dumps(task)) == task


def test_labels_and_activations():
    found = lambda given, kind: task_of(given, {}, KINDS[kind])  # noqa: E731
    assert found(config(), "image-classification")["labels"] == ["L0", "L1"]
    assert found(config(), "text-classification")["activation"] == "softmax"
    multi = config(problem_type="multi_label_classification")
    assert found(multi, "text-classification")["activation"] == "sigmoid"
    one = task_of(config(1), {}, [text({"logits": (1, 1)})])
    assert (one["activation"], one["labels"]) == ("none", ["L0"])
    assert found(config(0), "image-classification")["labels"] == ["LABEL_0", "LABEL_1"]


def test_labels_are_in_the_order_of_their_numbers():
    ten = SimpleNamespace(id2label={str(i): f"L{i}" for i in (10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)})
    assert task_of(ten, {}, [image({"logits": (1, 11)})])["labels"][-2:] == ["L9", "L10"]


def test_a_class_for_no_object():
    softmax = task_of(config(2), {}, KINDS["detection"])
    assert (softmax["labels"], softmax["activation"]) == (["L0", "L1"], "softmax")
    assert task_of(config(3), {}, KINDS["detection"])["activation"] == "sigmoid"


def test_text_limits_and_padding():
    given = TOKENIZER | {
        "tokenizer_config.json": b'{"model_max_length": 512}',
        "sentence_bert_config.json": b'{"max_seq_length": 256}',
    }
    found = task_of(config(pad_token_id=7), given, KINDS["embedding"])["text"]
    assert found == {"max_length": 256, "pad_id": 7, "full": False, "output": "sentence_embedding"}
    endless = TOKENIZER | {"tokenizer_config.json": b'{"model_max_length": 1000000000000000019884624838656}'}
    assert task_of(config(), endless, KINDS["embedding"])["text"]["max_length"] is None


def test_models_that_see_padding():
    seen = TOKENIZER | {"tokenizer_config.json": b'{"model_input_names": ["input_ids"]}'}
    assert task_of(config(), seen, KINDS["two-tower"])["text"]["full"]
    bare = [entry("text_32", {"input_ids": (1, 32)}, {"text_embeds": (1, 8)}, length=32), KINDS["two-tower"][1]]
    assert task_of(config(), TOKENIZER, bare)["text"]["full"]
    assert not task_of(config(), TOKENIZER, KINDS["two-tower"])["text"]["full"]


def test_scale_and_bias_are_read_from_the_weights():
    def clip(name):
        if name != "logit_scale":
            raise ModelError(f"the checkpoint has no tensor {name!r}")
        return np.float32(4.5)

    softmax = task_of(config(), {}, KINDS["two-tower"], clip)
    assert (softmax["logit_scale"], softmax["logit_bias"], softmax["activation"]) == (4.5, None, "softmax")
    sigmoid = task_of(config(), {}, KINDS["two-tower"], lambda name: np.float32([-2.0]))
    assert (sigmoid["logit_bias"], sigmoid["activation"]) == (-2.0, "sigmoid")


def test_what_is_missing_is_said_and_nothing_else_fails():
    assert "preprocessor_config.json" in task_of(config(), {}, KINDS["image-classification"])["image"]["refused"]
    assert "tokenizer.json" in task_of(config(), {}, KINDS["embedding"])["text"]["refused"]
    odd = {"preprocessor_config.json": b'{"image_processor_type": "EfficientNetImageProcessor"}'}
    assert "EfficientNet" in task_of(config(), odd, KINDS["image-classification"])["image"]["refused"]


def test_images():
    found = task_of(config(), VIT, KINDS["image-classification"])["image"]
    assert (found["channels"], found["height"], found["width"]) == (3, 40, 56)
    assert found["steps"]["resize"] == {"rule": "exact", "height": 40, "width": 56}


def test_generation_prefers_its_own_file():
    assets = {
        "generation_config.json": b'{"decoder_start_token_id": 3, "suppress_tokens": [5, -1], "forced_bos_token_id": 0}'
    }
    bart = config(decoder_start_token_id=9, eos_token_id=2, max_length=40, no_repeat_ngram_size=None)
    found = task_of(bart, assets, KINDS["encoder-decoder"])["generation"]
    assert found == {"start": 3, "eos": [2], "suppress_tokens": [5], "forced_bos_token_id": 0, "max_length": 40}


def test_sound():
    hearing = [entry("encode", {"input_features": (1, 20, 60)}, {"last_hidden_state": (1, 30, 8)}), token("decode")]
    given = {"preprocessor_config.json": b'{"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 20}'}
    found = task_of(config(), given, hearing)
    assert found["kind"] == "encoder-decoder"
    assert found["audio"] == {
        "feature_size": 20, "sampling_rate": 16000, "hop_length": 160, "n_fft": 400, "padding_value": 0.0, "frames": 60,
    }  # fmt: skip
    assert "refused" in task_of(config(), {}, hearing)["audio"]
    nested = {"processor_config.json": b'{"feature_extractor": ' + given["preprocessor_config.json"] + b"}"}
    assert task_of(config(), nested, hearing)["audio"] == found["audio"]
