"""Calibration data for models: windows, padded texts, photos, points; what is held out; what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import calibration_models as models
import numpy as np
import pytest
import torch
from PIL import Image

from edgeq.calibrate.data import Data, open_data, positions
from edgeq.errors import UsageError

WORDS = " ".join(f"word{i}" for i in range(2000))


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return models.tokenizer_files(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "a.txt").write_text(WORDS)
    return str(tmp_path / "a.txt")


@pytest.fixture
def photos(tmp_path: Path) -> str:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 256, (20 + i, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return str(folder)


def decoded(data: Data, files: dict[str, bytes]) -> list[str]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    return [tokenizer.decode(list(ids), skip_special_tokens=False) for ids in data.part.tokens]


def test_windows_are_stretches_of_the_text(files, text):
    data = open_data(text, models.decoder(files), count=4, length=32)
    assert [len(ids) for ids in data.part.tokens] == [32] * 4
    assert all(window in WORDS for window in decoded(data, files))
    assert data.tokens == 128
    assert data.description == "4 windows of 32 tokens of a.txt"


def test_the_seed_draws_and_nothing_else_does(files, text):
    source = models.decoder(files)
    one, same, other = (open_data(text, source, seed, 4, 32) for seed in (1, 1, 2))
    assert one.part == same.part
    assert one.hash == same.hash != other.hash
    assert set(one.part.tokens) != set(other.part.tokens)


def test_what_is_held_out_is_not_in_the_samples(files, text):
    data = open_data(text, models.decoder(files), count=8, length=32)
    held = data.held_out()
    assert len(held.part.tokens) == 2
    assert not set(held.part.tokens) & set(data.part.tokens)
    assert held.held_out().part.tokens == ()
    assert len(held.samples(models.graph(models.TOKEN_GRAPH))) == 2


def test_a_short_text_gives_some_of_it_up(files, tmp_path):
    (tmp_path / "a.txt").write_text("x" * 90)
    data = open_data(str(tmp_path / "a.txt"), models.decoder(files), count=16, length=32)
    assert (len(data.part.tokens), len(data.held_out().part.tokens)) == (2, 1)
    (tmp_path / "a.txt").write_text("tiny")
    data = open_data(str(tmp_path / "a.txt"), models.decoder(files), count=16, length=32)
    assert decoded(data, files) == ["tiny"]
    assert data.held_out().part.tokens == ()


def test_every_window_begins_as_texts_do(tmp_path, text):
    files = models.tokenizer_files(tmp_path, begin="<|bos|>")
    data = open_data(text, models.decoder(files), count=4, length=32)
    assert all(len(window) <= 32 + len("<|bos|>") for window in decoded(data, files))
    assert all(window.startswith("<|bos|>") and window.count("<|bos|>") == 1 for window in decoded(data, files))


def test_token_graphs_get_windows_without_their_first_row(files, text):
    samples = open_data(text, models.decoder(files), count=2, length=32).samples(models.graph(models.TOKEN_GRAPH))
    assert [list(sample.inputs["position_ids"][0]) for sample in samples] == [list(range(32))] * 2
    assert [sample.counted.tolist() for sample in samples] == [[False] + [True] * 31] * 2


def test_no_window_is_longer_than_the_model(files, text):
    source = models.decoder(files)
    assert positions(source.config) == 256
    assert max(map(len, open_data(text, source, count=2, length=1000).part.tokens)) == 256


def test_encoders_get_padded_texts_of_their_shape(files, tmp_path):
    rows = [{"text": "a" * n} for n in (3, 30, 5)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = open_data(str(tmp_path / "a.jsonl"), models.encoder(files))
    assert sorted(map(len, data.part.tokens + data.rest.tokens)) == [3, 5, 30]
    whole = replace(data, part=replace(data.part, tokens=data.part.tokens + data.rest.tokens))
    samples = whole.samples(models.graph(models.ENCODER_GRAPH))
    assert [tuple(sample.inputs["input_ids"].shape) for sample in samples] == [(2, 24)] * 2
    seen = sum(int(sample.inputs["attention_mask"].sum()) for sample in samples[:1])
    assert seen == sum(min(24, len(ids)) for ids in whole.part.tokens[:2])


def test_paragraphs_of_a_text_are_an_encoders_texts(files, tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo\n\nthree\n\nfour")
    data = open_data(str(tmp_path / "a.txt"), models.encoder(files))
    assert sorted(text.strip() for text in decoded(data, files) + decoded(data.held_out(), files)) == [
        "four", "one", "three", "two",
    ]  # fmt: skip


def test_conversations_go_through_the_chat_template(files, tmp_path):
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": chat}) + "\n" + json.dumps({"messages": chat[:1]}))
    data = open_data(str(tmp_path / "a.jsonl"), models.decoder(files), count=1, length=200)
    (said,) = decoded(data, files)
    answered = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nhello<|im_end|>\n"
    assert said == answered + "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_without_a_chat_template_prompts_are_text_and_conversations_refused(files, tmp_path):
    source = models.decoder(models.without_template(files))
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "2+2?", "completion": "4"}))
    assert decoded(open_data(str(tmp_path / "a.jsonl"), source), files) == ["2+2?\n4"]
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}, {"role": "user", "content": "z"}]
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": turns}))
    with pytest.raises(UsageError, match="no chat template"):
        open_data(str(tmp_path / "a.jsonl"), source)


def test_a_template_that_prints_the_date_prints_the_same_one_always(files, tmp_path):
    settings = json.loads(files["tokenizer_config.json"])
    settings["chat_template"] = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    dated = {**files, "tokenizer_config.json": json.dumps(settings).encode()}
    (tmp_path / "a.jsonl").write_text(json.dumps({"messages": [{"role": "user", "content": "!"}]}))
    assert decoded(open_data(str(tmp_path / "a.jsonl"), models.decoder(dated)), files) == ["26 Jul 2024!"]


def test_characters_that_utf8_lacks_do_no_harm(files, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b"}')
    assert decoded(open_data(str(tmp_path / "a.jsonl"), models.decoder(files)), files) == ["a?b"]


def test_photos_are_preprocessed_as_the_model_wants(photos):
    data = open_data(photos, models.vision())
    assert data.description == "6 images of photos"
    assert (len(data.rest.photos), data.tokens) == (2, 0)
    samples = data.samples(models.graph(models.IMAGE_GRAPH))
    assert [tuple(sample.inputs["pixel_values"].shape) for sample in samples] == [(2, 3, 32, 32)] * 3
    expected = np.asarray(Image.open(data.part.photos[0]).resize((32, 32), Image.Resampling.BILINEAR), np.float64)
    found = samples[0].inputs["pixel_values"][0].permute(1, 2, 0)
    torch.testing.assert_close(found, torch.from_numpy(expected / 127.5 - 1).float(), atol=1e-5, rtol=0)


def test_a_batch_that_is_not_full_repeats_its_last_photo(photos):
    data = open_data(photos, models.vision(), count=3)
    pixels = [sample.inputs["pixel_values"] for sample in data.samples(models.graph(models.IMAGE_GRAPH))]
    assert len(pixels) == 2
    assert torch.equal(pixels[1][0], pixels[1][1])
    assert not torch.equal(pixels[0][0], pixels[0][1])


def test_the_hash_is_of_the_photos_bytes(photos):
    before = open_data(photos, models.vision()).hash
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(Path(photos) / "0.png")
    assert open_data(photos, models.vision()).hash != before


def test_prompts_of_a_segmenter_are_points_of_its_image(photos):
    data = open_data(photos, models.segmenter())
    samples = data.samples(models.graph(models.POINT_GRAPH))
    places = torch.stack([sample.inputs["input_points"] for sample in samples])
    assert 0 <= places.min() < 200
    assert 800 < places.max() <= 1024
    assert {int(v) for sample in samples for v in sample.inputs["input_labels"].flatten()} == {0, 1}


def test_two_towers_get_photos_and_text(files, photos):
    data = open_data(photos, models.towers(files))
    assert data.description == "6 images of photos, 32 texts of edgeq's sample"
    assert len(data.samples(models.graph(models.IMAGE_GRAPH))) == 3
    assert len(data.samples(models.graph(models.ENCODER_GRAPH))) == 16


def test_own_text_and_none(files):
    own = open_data("", models.decoder(files), count=4, length=64)
    assert own.description == "4 windows of 64 tokens of edgeq's sample"
    assert open_data("", models.vision()).description == "none"
    nothing = open_data("none", models.decoder(files))
    assert (nothing.tokens, nothing.samples(models.graph(models.TOKEN_GRAPH))) == (0, [])


OTHER_GRAPH = models.ENCODER_GRAPH.replace("attention_mask", "bbox")


@pytest.mark.parametrize("text", [models.IMAGE_GRAPH, models.POINT_GRAPH, OTHER_GRAPH])
def test_graphs_that_take_something_else_get_nothing(files, text):
    assert open_data("", models.decoder(files)).samples(models.graph(text)) == []


@pytest.mark.parametrize(
    ("model", "spec", "message"),
    [
        (models.decoder, "photos", "takes none; give a text"),
        (models.encoder, "photos", "takes none; give a text"),
        (lambda files: models.vision(), "text", "takes none; give a folder of images"),
        (lambda files: models.decoder({}), "text", "without the tokenizer.json"),
        (models.encoder, "self", "generates no text by itself"),
        (lambda files: models.vision(), "self", "generates no text by itself"),
    ],
)
def test_data_that_a_model_cannot_take(files, text, photos, model, spec, message):
    with pytest.raises(UsageError, match=message):
        open_data({"text": text, "photos": photos}.get(spec, spec), model(files))


@pytest.mark.parametrize(("count", "length", "message"), [(0, None, "--calib-samples 0"), (1, 8, "--calib-length 8")])
def test_too_few_and_too_short(files, count, length, message):
    with pytest.raises(UsageError, match=message):
        open_data("", models.decoder(files), count=count, length=length)


def test_a_photo_that_cannot_be_read_is_named(photos):
    (Path(photos) / "3.png").write_bytes(b"no image")
    with pytest.raises(UsageError, match=r"3\.png cannot be read as an image.*take it out"):
        open_data(photos, models.vision())


def test_photos_for_a_model_without_preprocessing(photos):
    data = open_data(photos, models.vision({}))
    with pytest.raises(UsageError, match=r"preprocessor_config\.json"):
        data.samples(models.graph(models.IMAGE_GRAPH))


def test_encoders_of_encoder_decoders_need_no_value_for_what_they_write(files):
    caches = "%k = input : f32[2, 2, 32, 8]\n%v = input : f32[2, 2, 32, 8]\n"
    stored = "%s = edgeq.store_keys(%x, %x, %k, %v) : ()\n"
    text = caches + models.ENCODER_GRAPH.strip().replace("return", stored + "return")
    samples = open_data("", models.encoder(files), count=4).samples(models.graph(text))
    assert [set(sample.inputs) for sample in samples] == [{"input_ids", "attention_mask"}] * 2
