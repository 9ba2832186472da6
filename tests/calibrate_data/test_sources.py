"""Reading records: text, JSON lines, parquet, datasets and folders, and how each says what is wrong."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgeq.calibrate import records, text_file
from edgeq.calibrate.sources import own_text, read_records
from edgeq.calibrate.text_file import MOST_CHARACTERS, pieces
from edgeq.errors import UsageError

CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def write_jsonl(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def write_arrow(folder: Path, table: pa.Table, shards: int = 2) -> Path:
    """As `datasets.Dataset.save_to_disk` lays a dataset out."""
    folder.mkdir(parents=True)
    names = [f"data-{i:05}-of-{shards:05}.arrow" for i in range(shards)]
    size = -(-len(table) // shards)
    for i, name in enumerate(names):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table.slice(i * size, size))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def write_image(path: Path, seed: int = 0) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 30, 3), np.uint8)).save(path)
    return path


def test_text_is_cut_at_blank_lines_and_kept_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffOne.\r\nstill one\r\n\r\n\r\nTwo, é".encode())
    found = read_records(str(path))
    assert found.texts == ("One.\nstill one\n\n\n", "Two, é")
    assert found.joined


@given(st.text(alphabet="ab \n\t", max_size=300).map(lambda text: text * 40))
def test_pieces_are_the_text(text):
    found = pieces(text)
    assert "".join(found) == text
    assert all(len(piece.strip()) <= MOST_CHARACTERS for piece in found)


def test_only_the_beginning_of_a_large_file_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "MOST_BYTES", 50)
    path = write_jsonl(tmp_path / "a.jsonl", *({"text": f"number {i}"} for i in range(100)))
    assert read_records(str(path)).texts == ("number 0", "number 1")
    (tmp_path / "b.txt").write_bytes("é".encode() * 100)
    assert read_records(str(tmp_path / "b.txt")).texts == ("é" * 25,)
    (tmp_path / "c.txt").write_bytes(b"x" + "é".encode() * 100)
    assert read_records(str(tmp_path / "c.txt")).texts == ("x" + "é" * 24,)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"), (b" \n\n ", "empty"), (b"one\ntwo\nthr\xffee", "line 3: byte 0xff is not UTF-8"),
        ("größe".encode("latin-1"), "line 1: byte 0xf6"),
    ],
)  # fmt: skip
def test_text_that_is_none(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_records(str(tmp_path / "a.txt"))


def test_own_text_is_enough_for_sixteen_windows_and_those_held_out():
    found = own_text()
    assert sum(map(len, found.texts)) > 40_000
    assert len([text for text in found.texts if len(text) > 40]) > 80


@pytest.mark.parametrize("field", ["text", "messages", "prompt"])
def test_fields_are_found_by_name(tmp_path, field):
    value = {"text": "a text", "messages": CHAT, "prompt": "a prompt"}[field]
    path = write_jsonl(tmp_path / "a.jsonl", {"id": 1, field: value}, "", {"id": 2, field: value})
    expected = [{"role": "user", "content": "a prompt"}] if field == "prompt" else value
    assert read_records(str(path)).texts == (expected, expected)
    assert read_records(f"{path}#{field}").texts == (expected, expected)


def test_a_prompt_and_its_completion_are_a_conversation(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", {"prompt": "2+2?", "completion": "4"})
    roles = [(message["role"], message["content"]) for message in read_records(str(path)).texts[0]]
    assert roles == [("user", "2+2?"), ("assistant", "4")]


def test_what_is_empty_is_left_out(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", {"text": ""}, {"text": None}, {"text": " \n"}, {"text": "x"})
    assert read_records(str(path)).texts == ("x",)


def test_a_path_with_a_hash_is_a_path(tmp_path):
    path = tmp_path / "a#b.txt"
    path.write_text("x")
    assert read_records(str(path)).texts == ("x",)


@pytest.mark.parametrize(
    ("rows", "field", "message"),
    [
        (['{"text": "a"}', "{bad"], "", r"line 2: not JSON \(Expecting property name .* at column 2\)"),
        (['{"text": "a"}', "", "[1]"], "", "line 3: a JSON list"),
        (['{"body": "a", "id": 1}'], "", "line 1: no field 'text', 'messages' or 'prompt'; there are: body, id"),
        (['{"text": "a"}', '{"body": "b"}'], "", "line 2: no field 'text'; there are: body"),
        (['{"text": "a"}'], "#body", "line 1: no field 'body'; there are: text"),
        (['{"text": 7}'], "", "line 1: field 'text' is of type int"),
        (['{"messages": [{"from": "human", "value": "x"}]}'], "", "line 1: field 'messages' is a list whose items"),
        (["", ""], "", "no text"),
        (["[" * 100_000], "", "line 1: not JSON"),
    ],
)
def test_json_lines_that_cannot_be_used_are_named(tmp_path, rows, field, message):
    path = write_jsonl(tmp_path / "a.jsonl", *rows)
    with pytest.raises(UsageError, match=message):
        read_records(f"{path}{field}")


def test_parquet_texts_and_images(tmp_path):
    parquet.write_table(pa.table({"id": [1, 2], "text": ["one", "two"]}), tmp_path / "a.parquet")
    assert read_records(str(tmp_path / "a.parquet")).texts == ("one", "two")
    data = write_image(tmp_path / "x.png").read_bytes()
    parquet.write_table(pa.table({"image": [{"bytes": data, "path": "x.png"}], "label": [1]}), tmp_path / "b.parquet")
    assert read_records(str(tmp_path / "b.parquet")).photos == (data,)


@pytest.mark.parametrize(
    ("table", "field", "message"),
    [
        ({"body": ["x"]}, "", "no field 'text'.*there are: body"),
        ({"text": [["x"]]}, "", "row 1: field 'text' is a list whose items are no messages"),
        ({"text": ["", None]}, "", "hold nothing"),
        ({"image": [3]}, "", "row 1: column 'image' holds a value of type int"),
    ],
)
def test_parquet_that_cannot_be_used(tmp_path, table, field, message):
    parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    with pytest.raises(UsageError, match=message):
        read_records(f"{tmp_path / 'a.parquet'}{field}")


def test_a_file_that_is_no_parquet(tmp_path):
    (tmp_path / "a.parquet").write_text("PAR1 it says")
    with pytest.raises(UsageError, match="cannot be read as parquet"):
        read_records(str(tmp_path / "a.parquet"))


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_text("")
    real = builtins.__import__

    def absent(name, *rest, **options):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UsageError, match=r"pip install edgeq\[data\]"):
        read_records(str(tmp_path / "a.parquet"))


def test_a_dataset_on_disk(tmp_path):
    table = pa.table({"text": [f"text {i}" for i in range(7)], "label": list(range(7))})
    folder = write_arrow(tmp_path / "data", table)
    assert read_records(str(folder)).texts == tuple(f"text {i}" for i in range(7))


def test_of_several_splits_train_is_taken(tmp_path):
    for split in ("train", "test"):
        write_arrow(tmp_path / "data" / split, pa.table({"messages": [CHAT], "from": [split]}))
    (tmp_path / "data" / "dataset_dict.json").write_text('{"splits": ["test", "train"]}')
    assert read_records(str(tmp_path / "data")).texts == (CHAT,)
    assert read_records(f"{tmp_path / 'data'}#from").texts == ("train",)
    (tmp_path / "data" / "dataset_dict.json").write_text('{"splits": ["test", "dev"]}')
    with pytest.raises(UsageError, match=r"without the split `train`.*test, dev"):
        read_records(str(tmp_path / "data"))


def test_a_dataset_that_was_copied_by_half(tmp_path):
    folder = write_arrow(tmp_path / "data", pa.table({"text": ["a", "b", "c"]}))
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(UsageError, match=r"lacks data-00001-of-00002\.arrow"):
        read_records(str(folder))
    (folder / "data-00001-of-00002.arrow").write_bytes(b"no arrow")
    with pytest.raises(UsageError, match="cannot be read as Arrow"):
        read_records(str(folder))


def test_shards_of_a_folder_follow_one_another(tmp_path):
    for i in range(3):
        write_jsonl(tmp_path / f"part-{i}.jsonl", {"text": f"a{i}"}, {"text": f"b{i}"})
    (tmp_path / "README.md").write_text("what this is")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x.parquet").write_text("")
    assert read_records(str(tmp_path)).texts == ("a0", "b0", "a1", "b1", "a2", "b2")


def test_shards_beyond_what_is_read_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("edgeq.calibrate.dataset.MOST_BYTES", 4)
    monkeypatch.setattr(records, "MOST_BYTES", 4)
    write_jsonl(tmp_path / "a.jsonl", {"text": "enough"})
    (tmp_path / "b.jsonl").write_text("not JSON at all")
    assert read_records(str(tmp_path)).texts == ("enough",)


def test_images_of_a_folder_and_of_its_folders(tmp_path):
    (tmp_path / "cats").mkdir()
    files = [write_image(tmp_path / "b.PNG"), write_image(tmp_path / "a.jpg"), write_image(tmp_path / "cats" / "c.png")]
    (tmp_path / "labels.csv").write_text("a,b")
    assert read_records(str(tmp_path)).photos == tuple(sorted(files))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "it is empty"),
        (["a.png", "b.jsonl"], "several kinds of data"),
        (["a.txt", "b.parquet"], "several kinds of data"),
        (["a.csv"], "no folder of data .it holds a.csv"),
        (["a.txt", "b.py", "c.py"], "no folder of data"),
    ],
)
def test_folders_that_are_no_data(tmp_path, names, message):
    for name in names:
        (tmp_path / name).write_text("x")
    with pytest.raises(UsageError, match=message):
        read_records(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "message"),
    [("no.txt", "no such file"), ("a.json", "jq -c"), ("a.png", "give a folder"), ("a.txt#text", "have fields")],
)
def test_paths_that_are_no_data(tmp_path, name, message):
    for there in ("a.json", "a.png", "a.txt"):
        (tmp_path / there).write_text("x")
    with pytest.raises(UsageError, match=message):
        read_records(str(tmp_path / name))
