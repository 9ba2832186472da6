"""`edgeq run` of every kind of model: what it prints, and how it refuses what means nothing."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fakes import FakeDecoder, FakeSession, write_word_tokenizer
from PIL import Image

from edgeq.artifact import manifest as manifests
from edgeq.cli.app import app
from edgeq.cli.run_kinds import KINDS
from edgeq.cli.run_segment import point
from edgeq.errors import UsageError
from edgeq.tasks.image import Steps
from edgeq.tasks.kinds import kind_of
from edgeq.tasks.segmentation import Point

PIXELS = {"pixel_values": [1, 3, 4, 4]}
STEPS = Steps(resize={"rule": "exact", "height": 4, "width": 4}, rescale=1 / 255).to_json()
IMAGE = {"channels": 3, "height": 4, "width": 4, "steps": STEPS, "output": "pooler_output"}
TEXT = {"max_length": None, "pad_id": 0, "full": False, "output": "sentence_embedding"}
IDS = {"input_ids": [1, 8], "attention_mask": [1, 8]}


def entry(name: str, inputs: dict, outputs: dict, length: int = 0) -> dict:
    return {"name": name, "base": name.split("_")[0], "inputs": inputs, "outputs": outputs, "length": length}


def bright(held: dict) -> np.ndarray:
    return held["pixel_values"].mean((2, 3))


def vector(held: dict) -> dict:
    ids = held["input_ids"][0]
    return {"sentence_embedding": np.array([[(ids == 4).sum(), (ids == 5).sum(), 1]], np.float32)}


def looked(held: dict) -> dict:
    return {"image_embeddings": held["pixel_values"]}


def masked(held: dict) -> dict:
    corner = np.where(np.arange(16).reshape(4, 4) < 8, 1.0, -1.0)
    return {
        "pred_masks": np.stack([-corner, corner, corner * 0 - 1])[None, None].astype(np.float32),
        "iou_scores": np.array([[[0.1, 0.9, 0.5]]], np.float32),
    }


POINTS = {"input_points": [1, 1, 2, 2], "input_labels": [1, 1, 2]}
CASES = {
    "embedding": (
        {"text": TEXT, "entries": [entry("text_8", IDS, {"sentence_embedding": [1, 3]}, 8)]},
        lambda: FakeSession(text_8=vector),
    ),
    "text-classification": (
        {"text": TEXT, "entries": [entry("text_8", IDS, {"logits": [1, 2]}, 8)], "labels": ["no", "yes"],
         "activation": "softmax"},
        lambda: FakeSession(text_8=lambda held: {"logits": np.array([[0, 2]], np.float32)}),
    ),
    "token-classification": (
        {"text": TEXT, "entries": [entry("text_8", IDS, {"logits": [1, 8, 2]}, 8)], "labels": ["O", "B"],
         "activation": "softmax"},
        lambda: FakeSession(text_8=lambda held: {"logits": np.eye(2, dtype=np.float32)[(held["input_ids"] == 5) * 1]}),
    ),
    "fill-mask": (
        {"text": TEXT, "entries": [entry("text_8", IDS, {"logits": [1, 8, 12]}, 8)]},
        lambda: FakeSession(text_8=lambda held: {"logits": np.eye(12, dtype=np.float32)[held["input_ids"] + 3] * 9}),
    ),
    "image-classification": (
        {"image": IMAGE, "entries": [entry("image", PIXELS, {"logits": [1, 3]})], "labels": ["red", "green", "blue"],
         "activation": "softmax"},
        lambda: FakeSession(image=lambda held: {"logits": bright(held) * 9}),
    ),
    "image-features": (
        {"image": IMAGE, "entries": [entry("image", PIXELS, {"pooler_output": [1, 3]})]},
        lambda: FakeSession(image=lambda held: {"pooler_output": bright(held)}),
    ),
    "two-tower": (
        {"image": IMAGE, "text": TEXT, "logit_scale": 2.0, "logit_bias": None, "activation": "softmax",
         "entries": [entry("text_8", IDS, {"text_embeds": [1, 3]}, 8),
                     entry("image", PIXELS, {"image_embeds": [1, 3]})]},
        lambda: FakeSession(
            text_8=lambda held: {"text_embeds": vector(held)["sentence_embedding"]},
            image=lambda held: {"image_embeds": bright(held)},
        ),
    ),
    "detection": (
        {"image": IMAGE, "entries": [entry("image", PIXELS, {"logits": [1, 2, 3], "pred_boxes": [1, 2, 4]})],
         "labels": ["cat", "dog"], "activation": "softmax"},
        lambda: FakeSession(
            image=lambda held: {
                "logits": np.array([[[0, 5, 0], [0, 0, 5]]], np.float32),
                "pred_boxes": np.array([[[0.5, 0.5, 0.5, 1], [0, 0, 1, 1]]], np.float32),
            }
        ),
    ),
    "segmentation": (
        {"image": IMAGE,
         "entries": [entry("image", PIXELS, {"image_embeddings": [1, 3, 4, 4]}),
                     entry("prompt", POINTS, {"sparse_embeddings": [1, 1, 3, 8]}),
                     entry("mask", {"sparse_embeddings": [1, 1, 3, 8]}, {"pred_masks": [1, 1, 3, 4, 4]})]},
        lambda: FakeSession(
            image=looked, prompt=lambda held: {"sparse_embeddings": np.zeros((1, 1, 3, 8), np.float32)}, mask=masked
        ),
    ),
    "encoder-decoder": (
        {"text": TEXT, "generation": {"start": 2, "eos": [2]}, "entries": [entry("encode_8", IDS, {}, 8)]},
        lambda: FakeDecoder(
            lambda fed: np.eye(12, dtype=np.float32)[[4, 5, 2][min(len(fed), 3) - 1]], encode_8=lambda held: {}
        ),
    ),
    "speech": (
        {"kind": "encoder-decoder", "generation": {"start": 2, "eos": [2]},
         "audio": {"feature_size": 4, "sampling_rate": 100, "hop_length": 10, "n_fft": 20, "padding_value": 0.0,
                   "frames": 6},
         "entries": [entry("encode", {"input_features": [1, 4, 6]}, {})]},
        lambda: FakeDecoder(
            lambda fed: np.eye(12, dtype=np.float32)[[4, 5, 2][min(len(fed), 3) - 1]], encode=lambda held: {}
        ),
    ),
    "features": ({"entries": [entry("odd", {"bbox": [1, 4]}, {"logits": [1, 2]})]}, FakeSession),
}  # fmt: skip


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Kind -> (artifact folder, its session): a real manifest over entries that are Python functions."""

    def made(kind: str):
        task, open_session = CASES[kind]
        session = open_session()
        folder = tmp_path / kind
        folder.mkdir()
        write_word_tokenizer(folder)
        manifests.write(
            manifests.Manifest("0", kind, "x86-64", "fp32", files={}, tensors=[], task={"kind": kind} | task), folder
        )
        monkeypatch.setattr("edgeq.runtime.artifact.Session", lambda *_: session)
        return folder, session

    return made


@pytest.fixture
def photo(tmp_path) -> Path:
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, :, 1] = 255
    Image.fromarray(image).save(tmp_path / "green.png")
    return tmp_path / "green.png"


def edgeq(*given: object, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, given)], input=text)


def test_every_kind_can_be_run_or_says_why():
    assert set(KINDS) == set(CASES) - {"features"} | {"chat"}
    assert kind_of([], 0) == "features"


def test_one_text_is_a_vector_and_several_are_cosines(make, tmp_path):
    folder, _ = make("embedding")
    one = edgeq(folder, "--text", "a a b")
    assert one.stdout == "[2.000000, 1.000000, 1.000000]\n"
    assert "1 text, 3 dimensions: " in one.stderr
    two = edgeq(folder, text="a\nb\n")
    assert two.stdout.split() == ["1", "2", "1", "1.0000", "0.5000", "a", "2", "0.5000", "1.0000", "b"]
    report = json.loads(edgeq(folder, "--text", "a", "--text", "b", "--json").stdout)
    assert report["inputs"] == ["a", "b"]
    assert json.loads(edgeq(folder, "--json", text="a\n\nb\n").stdout)["inputs"] == ["a", "", "b"]
    assert report["embeddings"] == [[1, 0, 1], [0, 1, 1]]
    assert np.allclose(report["similarity"], [[1, 0.5], [0.5, 1]])
    assert edgeq(folder, "--text", "a", "-o", tmp_path / "e.npy").stdout == ""
    assert np.load(tmp_path / "e.npy").tolist() == [[1, 0, 1]]


def test_labels_of_texts(make):
    folder, _ = make("text-classification")
    assert edgeq(folder, "--text", "a").stdout == " 0.8808  yes\n 0.1192  no\n"
    report = json.loads(edgeq(folder, "--text", "a", "--top-k", 1, "--json").stdout)
    assert report["results"][0]["input"] == "a"
    assert [label["label"] for label in report["results"][0]["labels"]] == ["yes"]


def test_labels_of_words(make):
    folder, _ = make("token-classification")
    out = edgeq(folder, "--text", "a b").stdout
    assert [line.split()[:3] for line in out.splitlines()] == [["0-1", "a", "O"], ["2-3", "b", "B"]]


def test_words_for_masks(make):
    folder, _ = make("fill-mask")
    assert edgeq(folder, "--text", "a [UNK]", "--top-k", 1).stdout.split() == ["0.9986", "c"]
    report = json.loads(edgeq(folder, "--text", "a [UNK]", "--json").stdout)
    assert report["results"][0]["masks"][0]["start"] == 2
    assert edgeq(folder, "--text", "a").exit_code == 2


def test_labels_of_photos(make, photo):
    folder, session = make("image-classification")
    out = edgeq(folder, "--image", photo, "--top-k", 1)
    assert out.stdout.split() == ["0.9998", "green"]
    assert "1 image: " in out.stderr
    both = edgeq(folder, "--image", photo, "--image", photo).stdout
    assert both.count(str(photo)) == 2
    assert session.names == ["image"] * 3


def test_photos_as_vectors(make, photo):
    folder, _ = make("image-features")
    assert edgeq(folder, "--image", photo).stdout == "[0.000000, 1.000000, 0.000000]\n"


def test_two_towers(make, photo):
    folder, _ = make("two-tower")
    out = edgeq(folder, "--image", photo, "--text", "a", "--text", "b").stdout
    assert [line.split()[1] for line in out.splitlines()] == ["b", "a"]
    assert edgeq(folder, "--image", photo).stdout == "[0.000000, 1.000000, 0.000000]\n"
    assert "1.0000" in edgeq(folder, "--text", "a", "--text", "b").stdout
    assert edgeq(folder, "--image", photo, "--text", "a", "-o", "x.npy").exit_code == 2


def test_boxes_are_in_pixels(make, photo):
    folder, _ = make("detection")
    assert edgeq(folder, "--image", photo).stdout.split() == ["0.9867", "5.0", "0.0", "15.0", "10.0", "dog"]
    assert "nothing scores above" in edgeq(folder, "--image", photo, "--threshold", 0.99).stdout
    report = json.loads(edgeq(folder, "--image", photo, "--json").stdout)
    assert report["results"][0]["objects"][0]["box"] == [5, 0, 15, 10]


def test_masks_share_one_look(make, photo, tmp_path):
    folder, session = make("segmentation")
    out = edgeq(
        folder, "--image", photo, "--point", "3,4", "--point", "-1,1", "--object", "5,5 6,6:0", "-o", tmp_path / "m.png"
    )
    assert out.exit_code == 0, out.stderr
    assert session.names == ["image", "prompt", "mask", "prompt", "mask"]
    assert session.runs[1][1]["input_labels"].tolist() == [[[1, 0]]]
    mask = np.asarray(Image.open(tmp_path / "m-1.png"))
    assert mask.shape == (10, 20)
    assert set(np.unique(mask[:4])) == {255}
    assert set(np.unique(mask[6:])) == {0}
    assert (tmp_path / "m-2.png").exists()
    assert out.stderr.count("prompt and mask: ") == 2
    assert "image features: " in out.stderr


def test_masks_as_json(make, photo):
    folder, _ = make("segmentation")
    report = json.loads(edgeq(folder, "--image", photo, "--point", "3,4", "--json").stdout)
    assert report["masks"][0]["points"] == [[3, 4, 1]]
    assert report["masks"][0]["score"] == pytest.approx(0.9)
    assert report["masks"][0]["box"][:3] == [0, 0, 20]
    assert report["masks"][0]["file"] is None


def test_texts_from_texts(make):
    folder, _ = make("encoder-decoder")
    out = edgeq(folder, "--text", "c d")
    assert out.stdout == "a b\n"
    assert "tok/s" in out.stderr
    assert edgeq(folder, text="c d\n").stdout == "a b\n"
    assert json.loads(edgeq(folder, "--text", "c", "--json").stdout) == {"text": "a b"}
    assert edgeq(folder, "--text", "c", "-n", 1).stdout == "a\n"


def test_speech(make, tmp_path):
    folder, session = make("speech")
    with wave.open(str(tmp_path / "s.wav"), "wb") as file:
        file.setparams((1, 2, 100, 0, "NONE", ""))
        file.writeframes(np.arange(100, dtype="<i2").tobytes())
    out = edgeq(folder, "--audio", tmp_path / "s.wav")
    assert out.stdout == "a b\na b\n"  # a line a window of 60 samples
    assert json.loads(edgeq(folder, "--audio", tmp_path / "s.wav", "--json").stdout)["text"] == "a b a b"
    assert session.runs[0][1]["input_features"].shape == (1, 4, 6)
    assert edgeq(folder, "--audio", tmp_path / "s.wav", "--language", "de").exit_code == 2


WRONG = [
    ("embedding", ("--image", "x.png"), "--image"),
    ("embedding", ("--prompt", "Hi"), "--prompt"),
    ("embedding", ("--text", "a", "-o", "x.png"), ".npy"),
    ("image-classification", ("--text", "a"), "--text"),
    ("image-classification", (), "--image photo.jpg"),
    ("image-classification", ("--image", "gone.png"), "no such file"),
    ("detection", ("--point", "1,2"), "--point"),
    ("segmentation", ("--point", "1,2"), "--image"),
    ("segmentation", ("--image", "PHOTO"), "no points"),
    ("segmentation", ("--image", "PHOTO", "--point", "1;2"), "no point"),
    ("segmentation", ("--image", "PHOTO", "--point", "99,2"), "outside"),
    ("segmentation", ("--image", "PHOTO", "--point", "1,2", "-o", "m.jpg"), ".png"),
    ("segmentation", ("--image", "PHOTO", "--object", "1,1 2,2 3,3"), "at most 2"),
    ("encoder-decoder", ("--text", "a", "--text", "b"), "one --text"),
    ("encoder-decoder", ("--text", "a", "--language", "de"), "--language means nothing"),
    ("encoder-decoder", ("--audio", "x.wav"), "a text-to-text model, which takes --text"),
    ("speech", ("--text", "a"), "a model that hears, which takes --audio, --language, --translate"),
    ("speech", (), "--audio speech.wav"),
    ("speech", ("--audio", "gone.wav"), "no such file"),
    ("speech", ("--audio", "gone.wav", "--stop", "x"), "--stop"),
    ("features", (), "edgeq.load"),
    ("features", ("--text", "a"), "odd"),
]


@pytest.mark.parametrize(("kind", "given", "message"), WRONG)
def test_what_means_nothing_is_a_usage_error(make, photo, kind, given, message):
    folder, _ = make(kind)
    result = edgeq(folder, *(photo if word == "PHOTO" else word for word in given), text="")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_any_entry_runs_on_arrays(make, tmp_path):
    folder, session = make("detection")
    np.save(tmp_path / "p.npy", np.ones((1, 3, 4, 4)))
    given = (folder, "--entry", "image", "--input", f"pixel_values={tmp_path / 'p.npy'}")
    out = edgeq(*given, "-o", tmp_path / "o.npz")
    assert "pred_boxes  float32[1, 2, 4]  min 0" in out.stdout
    assert "image: " in out.stderr
    assert np.load(tmp_path / "o.npz")["logits"].shape == (1, 2, 3)
    assert session.runs[0][1]["pixel_values"].dtype == np.float32
    report = json.loads(edgeq(*given, "--json").stdout)
    assert report["outputs"]["logits"] == {"shape": [1, 2, 3], "dtype": "float32"}


def test_arrays_that_do_not_fit_are_usage_errors(make, tmp_path):
    folder, _ = make("detection")
    np.save(tmp_path / "big.npy", np.array([2**40]))
    np.save(tmp_path / "text.npy", np.array(["a"]))
    (tmp_path / "no.npy").write_text("none")
    for given in ("x", "x=gone.npy", *(f"x={tmp_path / name}.npy" for name in ("big", "text", "no"))):
        result = edgeq(folder, "--entry", "image", "--input", given)
        assert result.exit_code == 2, result.output
        assert f"--input {given}" in result.stderr
    assert edgeq(folder, "--entry", "image", "--text", "a").exit_code == 2
    assert edgeq(folder, "--entry", "image", "-o", "x.npy").exit_code == 2
    assert "--input means nothing" in edgeq(folder, "--image", "x.png", "--input", "x=y").stderr


def test_the_message_shows_what_works(make):
    folder, _ = make("detection")
    message = edgeq(folder, "--text", "a").stderr
    assert "--text means nothing to a detector, which takes --image, --threshold, --top-k" in message
    assert f"edgeq run {folder} --image photo.jpg" in message


def test_nothing_is_left_where_nothing_can_be_written(make, photo, tmp_path):
    folder, _ = make("segmentation")
    result = edgeq(folder, "--image", photo, "--point", "1,1", "-o", tmp_path / "no" / "mask.png")
    assert result.exit_code == 5
    assert not (tmp_path / "no").exists()


def test_a_broken_photo_is_a_usage_error(make, tmp_path):
    folder, _ = make("image-classification")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    result = edgeq(folder, "--image", tmp_path / "cut.png")
    assert result.exit_code == 2
    assert "cannot be read as an image" in result.stderr


def test_no_artifact_is_said_before_anything_is_read(tmp_path):
    assert edgeq(tmp_path, "--text", "a").exit_code == 6


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3,4", Point(3, 4)), ("-3,4.5", Point(3, 4.5, False)), ("3,4:0", Point(3, 4, False)), ("3,4:1", Point(3, 4))],
)
def test_points(text, expected):
    assert point(text) == expected


@pytest.mark.parametrize("text", ["", "3", "3,", "3,-4", "--3,4", "3,4:2", "-3,4:1", "a,b", "3 4"])
def test_bad_points(text):
    with pytest.raises(UsageError, match="no point"):
        point(text)
