"""Folders of every kind of model: each tensor is found under its name in the graph, whatever the file calls it."""

from __future__ import annotations

import json
from pathlib import Path

import entry_zoo as zoo
import pytest
import torch
from safetensors.torch import load_file, save_file

from edgeq.errors import ModelError, UnsupportedError
from edgeq.frontend import open_model
from edgeq.frontend.skeleton import stored_tensors

WEIGHTS = "model.safetensors"


def saved(name: str, folder: Path) -> dict[str, torch.Tensor]:
    """A zoo model in a folder, and what it holds."""
    model = zoo.model(name)
    model.save_pretrained(folder)
    return stored_tensors(model)


@pytest.mark.parametrize("name", sorted(zoo.ZOO))
def test_every_tensor_is_found(name: str, tmp_path: Path) -> None:
    expected = saved(name, tmp_path)
    weights = open_model(str(tmp_path)).weights
    assert all(torch.equal(weights.read(name), value) for name, value in expected.items())


def test_old_names_without_the_base_prefix(tmp_path: Path) -> None:
    """What BERT checkpoints of the first days look like."""
    expected = saved("bert_masked", tmp_path)
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): t for name, t in load_file(tmp_path / WEIGHTS).items()}
    save_file({name.removeprefix("bert."): tensor for name, tensor in old.items()}, tmp_path / WEIGHTS)
    weights = open_model(str(tmp_path)).weights
    name = "bert.encoder.layer.1.output.LayerNorm.weight"
    assert torch.equal(weights.read(name), expected[name])


def test_missing_statistics_are_named(tmp_path: Path) -> None:
    saved("resnet", tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    name = "resnet.embedder.embedder.normalization.running_mean"
    del tensors[name]
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match=f"{name} is missing"):
        open_model(str(tmp_path))


def test_what_a_class_computes_itself_may_be_missing(tmp_path: Path) -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    sizes = {f"{part}_{what}": 1 for part in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    config = BartConfig(**sizes, d_model=8, encoder_ffn_dim=8, decoder_ffn_dim=8, vocab_size=9, pad_token_id=1)
    BartForConditionalGeneration(config).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / WEIGHTS)
    tensors.pop("final_logits_bias", None)
    save_file(tensors, tmp_path / WEIGHTS)
    weights = open_model(str(tmp_path)).weights
    assert torch.equal(weights.read("final_logits_bias", slice(0, 1)), torch.zeros(1, 9))


def test_files_of_preprocessing_and_heads_come_along(tmp_path: Path) -> None:
    saved("bert", tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    for name in ("preprocessor_config.json", "modules.json", "1_Pooling/config.json"):
        (tmp_path / name).write_text("[]")
    source = open_model(str(tmp_path))
    assert "preprocessor_config.json" in source.assets
    assert set(source.extras) == {"modules.json", "1_Pooling/config.json"}


def test_code_of_the_checkpoint_is_listed_and_refused(tmp_path: Path) -> None:
    saved("bert", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    custom = {"architectures": ["MyModel"], "auto_map": {"AutoModel": "mine.MyModel", "AutoConfig": "conf.MyConfig"}}
    (tmp_path / "config.json").write_text(json.dumps(config | custom))
    with pytest.raises(UnsupportedError, match=r"MyModel.*conf\.MyConfig, mine\.MyModel.*never run"):
        open_model(str(tmp_path))
