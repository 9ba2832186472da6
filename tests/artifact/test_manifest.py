from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edgeq.artifact.manifest import MANIFEST, SCHEMA_VERSION, Manifest, read, write
from edgeq.artifact.storage import StoredTensor, components
from edgeq.artifact.verify import hash_folder, verify_files
from edgeq.errors import ArtifactError

TENSORS = [
    StoredTensor("model.embed_tokens.weight", ("model.embed_tokens.weight",), "w8g32", (64, 32), 0, 2176, 4096),
    StoredTensor("model.layers.0.mlp.up_proj.weight", ("a",), "w4g32", (32, 64), 2176, 1152, 4096),
    StoredTensor("model.layers.11.mlp.up_proj.weight", ("b",), "w4g32", (32, 64), 3328, 1152, 4096),
    StoredTensor("rope#1", (), "f32", (16, 16), 4480, 1024, 0),
]

IDS = {"name": "input_ids", "dtype": "i32", "shape": [8, 128], "row_stride": 128}
HIDDEN = {"name": "last_hidden_state", "dtype": "f32", "shape": [8, 128, 100], "row_stride": 112}
ENTRY = {"name": "text_128x8", "kind": "static", "base": "text", "batch": 8, "length": 128, "max_rows": 1}
ENTRY |= {"inputs": [IDS], "outputs": [HIDDEN], "regions": []}


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    (tmp_path / "weights.safetensors").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer/tokenizer.json").write_text("{}")
    write(manifest(tmp_path), tmp_path)
    return tmp_path


def manifest(folder: Path) -> Manifest:
    return Manifest(
        edgeq="0.1.0", model="tiny", target="x86-64", bits="w4a8", files=hash_folder(folder), tensors=TENSORS,
        passes=["merge-qkv"], entries=[ENTRY], memory={"arena": 4096, "context": 64},
        task={"kind": "embed", "pooling": "mean"},
    )  # fmt: skip


def test_what_is_written_is_read(artifact: Path) -> None:
    found = read(artifact)
    assert found == manifest_without_itself(artifact)
    assert list(found.files) == ["tokenizer/tokenizer.json", "weights.safetensors"]
    verify_files(artifact, found)
    verify_files(artifact, found, strong=True)


def manifest_without_itself(folder: Path) -> Manifest:
    made = manifest(folder)
    return replace(made, files={name: entry for name, entry in made.files.items() if name != MANIFEST})


def test_sections_added_later_are_kept(artifact: Path) -> None:
    write(replace(read(artifact), extra={"latency": {"decode": 0.5}}), artifact)
    assert read(artifact).extra == {"latency": {"decode": 0.5}}
    assert sorted(p.name for p in artifact.iterdir()) == [MANIFEST, "tokenizer", "weights.safetensors"]


@pytest.mark.parametrize("name", ["weights.safetensors", "tokenizer/tokenizer.json"])
def test_a_flipped_byte_in_any_file_is_found(artifact: Path, name: str) -> None:
    flip(artifact / name, 1)
    with pytest.raises(ArtifactError, match=f"{name} has other contents"):
        verify_files(artifact, read(artifact))
    with pytest.raises(ArtifactError, match=f"{name} has other contents"):
        verify_files(artifact, read(artifact), strong=True)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_flipped_byte_anywhere_in_the_manifest_is_found(artifact: Path) -> None:
    data = (artifact / MANIFEST).read_bytes()
    before = read(artifact)
    for at in range(0, len(data), 7):
        flip(artifact / MANIFEST, at)
        with suppress(ArtifactError):
            assert read(artifact) == before, f"byte {at}"  # white space may change without a change of meaning
        (artifact / MANIFEST).write_bytes(data)


def test_missing_and_short_files_are_all_named(artifact: Path) -> None:
    (artifact / "weights.safetensors").write_bytes(b"short")
    (artifact / "tokenizer/tokenizer.json").unlink()
    both = r"tokenizer\.json is missing; weights\.safetensors has 5 bytes instead of 2,048"
    with pytest.raises(ArtifactError, match=both):
        verify_files(artifact, read(artifact))


def test_a_hash_that_somebody_else_checks_is_skipped_but_not_the_size(artifact: Path) -> None:
    flip(artifact / "weights.safetensors", 0)
    verify_files(artifact, read(artifact), skip_hash=("weights.safetensors",))
    (artifact / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match="bytes"):
        verify_files(artifact, read(artifact), skip_hash=("weights.safetensors",))


def test_a_newer_schema_says_upgrade(artifact: Path) -> None:
    body = json.loads((artifact / MANIFEST).read_text())
    (artifact / MANIFEST).write_text(json.dumps(body | {"schema_version": SCHEMA_VERSION + 1}))
    with pytest.raises(ArtifactError, match=f"schema {SCHEMA_VERSION + 1}.*upgrade edgeq"):
        read(artifact)


DAMAGED = ["", "{", "[]", "null", "{}", '{"schema_version": "1"}', '{"schema_version": 2}', "\x00"]


def test_an_older_schema_says_compile_again(artifact: Path) -> None:
    body = json.loads((artifact / MANIFEST).read_text())
    (artifact / MANIFEST).write_text(json.dumps(body | {"schema_version": SCHEMA_VERSION - 1}))
    with pytest.raises(ArtifactError, match=f"older edgeq .schema {SCHEMA_VERSION - 1}, .* compile it again"):
        read(artifact)


@pytest.mark.parametrize("text", DAMAGED)
def test_damaged_json_is_refused(artifact: Path, text: str) -> None:
    (artifact / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError, match=MANIFEST):
        read(artifact)


def test_a_folder_without_manifest_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not an edgeq artifact"):
        read(tmp_path)


def test_components_group_layers_and_sum_up() -> None:
    rows = components(TENSORS)
    assert [(row.name, row.tensors, row.bytes) for row in rows] == [
        ("model.embed_tokens.weight", 1, 2176),
        ("model.layers.*.mlp.up_proj.weight", 2, 2304),
        ("rope", 1, 1024),
        ("total", 4, 5504),
    ]
    assert rows[1].bits_per_weight == 4.5 and rows[1].bytes_before == 8192
    assert rows[-1].weights == 2048 + 2 * 2048 + 256
