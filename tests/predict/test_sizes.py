"""Bytes of an artifact from config.json alone are those that a compile writes."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import BertConfig, BertModel

from edgeq.compiling.calibrated import run_all
from edgeq.compiling.options import make_options
from edgeq.compiling.prepared import prepare
from edgeq.frontend.safetensors_file import SafetensorsWeights
from edgeq.lower.build import WEIGHTS, write_weights
from edgeq.lower.lowering import lower_entries
from edgeq.predict.blank_model import BlankWeights, open_blank
from edgeq.predict.blank_plan import draw
from edgeq.predict.folder_size import folder_size


def silent(stage, done, total):
    pass


@pytest.fixture(scope="module")
def config_only(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    shutil.copy(tiny_model / "config.json", folder)
    return folder


def written(options, folder):
    """Bytes of the weights file that a compile writes, without its kernels."""
    prepared = prepare(options, silent)
    run_all(prepared.entries, prepared.source, options, prepared.context, silent)
    _, table = lower_entries(prepared.entries, prepared.source.weights, prepared.context, prepared.chunk)
    write_weights(table, folder, silent)
    return (folder / WEIGHTS).stat().st_size


@pytest.mark.parametrize(
    "how",
    [
        {"bits": "w4a8"},
        {"bits": "w4a8g64a", "formats": {"*.down_proj": "w8"}},
        {"bits": "w8a8", "passes": ("osplus{rms_shift=true}",)},
        {"bits": "w8a8s", "recipe": "fast"},
        {"bits": "fp16kv8"},
    ],
    ids=lambda how: how["bits"],
)
def test_weights_are_exact_to_the_byte(tiny_model, config_only, tmp_path, how):
    given = {"context": 64, "chunk": 16, "calib_samples": 1, "calib_length": 16, **how}
    given = given if "passes" in how or "recipe" in how else {**how, "context": 64, "chunk": 16, "calib": "none"}
    drawn = draw(make_options(str(config_only), **given), silent)
    size = folder_size(drawn, make_options(str(config_only), **given))
    assert size.files[WEIGHTS] == written(make_options(str(tiny_model), **given), tmp_path)
    assert size.missing == ("its tokenizer",)


def test_an_encoder_is_exact_too(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    BertModel(BertConfig(**sizes, vocab_size=13, max_position_embeddings=16)).save_pretrained(tmp_path / "bert")
    options = make_options(str(tmp_path / "bert"), bits="w8a8", lengths=(8, 16), calib="none")
    assert folder_size(draw(options, silent), options).files[WEIGHTS] == written(options, tmp_path)


def test_the_whole_folder(tiny_model, tiny_artifact):
    options = make_options(str(tiny_model), bits="w4a8", context=64, chunk=16)
    size = folder_size(draw(options, silent), options)
    real = {path.name: path.stat().st_size for path in tiny_artifact.iterdir()}
    assert set(size.files) == set(real)
    assert {name: size.files[name] for name in size.exact} == pytest.approx({n: real[n] for n in size.exact}, abs=8)
    assert size.files["edgeq.json"] == pytest.approx(real["edgeq.json"], rel=0.1)
    assert size.files["passes.json"] == pytest.approx(real["passes.json"], rel=0.5)  # without clips
    for name in ("model.so", "kernels.a"):  # generated code: within a part of what a model of a useful size takes
        assert size.files[name] == pytest.approx(real[name], rel=0.3)


def test_no_weight_is_read(tiny_model, monkeypatch):
    def refuse(*_):
        raise AssertionError("a weight was read")

    monkeypatch.setattr(SafetensorsWeights, "read", refuse)
    monkeypatch.setattr(SafetensorsWeights, "__init__", refuse)
    draw(make_options(str(tiny_model), context=64, chunk=16), silent)


def test_blank_weights_have_the_checkpoints_shapes(tiny_model):
    stored = SafetensorsWeights([tiny_model / "model.safetensors"])
    blank = open_blank(str(tiny_model)).weights
    assert {name: blank.shape(name) for name in stored.names()} == {n: stored.shape(n) for n in stored.names()}
    rows = blank.read("model.embed_tokens.weight", slice(3, 7))
    assert rows.shape == (4, 64) and not rows.any() and rows.untyped_storage().nbytes() <= 4


def test_the_checkpoints_type_comes_from_the_config(config_only, tmp_path):
    said = json.loads((config_only / "config.json").read_text()) | {"dtype": "bfloat16"}
    (tmp_path / "config.json").write_text(json.dumps(said))
    config = open_blank(str(tmp_path)).config
    assert BlankWeights(config).dtype("model.norm.weight") == "BF16"
