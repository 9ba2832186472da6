from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgeq.artifact.folder import artifact_folder, check_output
from edgeq.errors import OutputError


def fill(out: Path, text: str, overwrite: bool = False) -> None:
    with artifact_folder(out, overwrite) as folder:
        (folder / "edgeq.json").write_text(text)


def test_appears_only_when_complete(tmp_path: Path) -> None:
    out = tmp_path / "build" / "model"
    with artifact_folder(out) as folder:
        (folder / "edgeq.json").write_text("x")
        assert not out.exists() and folder.parent == out.parent
    assert (out / "edgeq.json").read_text() == "x"
    assert os.listdir(out.parent) == ["model"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_nothing_not_even_parents(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), artifact_folder(tmp_path / "a" / "b" / "model") as folder:
        (folder / "weights").write_bytes(b"half")
        raise error
    assert not os.listdir(tmp_path)


def test_an_existing_output_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "model", "first")
    with pytest.raises(OutputError, match="exists already"):
        fill(tmp_path / "model", "second")
    assert (tmp_path / "model/edgeq.json").read_text() == "first"
    assert os.listdir(tmp_path) == ["model"]


def test_overwrite_replaces_an_artifact_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path / "model", "first")
    fill(tmp_path / "model", "second", overwrite=True)
    assert (tmp_path / "model/edgeq.json").read_text() == "second"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_text("meow")
    with pytest.raises(OutputError, match="not an edgeq artifact"):
        check_output(tmp_path / "photos", overwrite=True)
    (tmp_path / "link").symlink_to(tmp_path / "model")
    with pytest.raises(OutputError, match="not an edgeq artifact"):
        check_output(tmp_path / "link", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["link", "model", "photos"]


def test_a_failed_overwrite_keeps_the_old_one(tmp_path: Path) -> None:
    fill(tmp_path / "model", "first")
    with pytest.raises(ValueError), artifact_folder(tmp_path / "model", overwrite=True):
        raise ValueError
    assert (tmp_path / "model/edgeq.json").read_text() == "first"


def test_an_interrupted_exchange_brings_the_old_one_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "model", "first")
    rename, calls = os.rename, []

    def interrupted(a: Path, b: Path) -> None:
        calls.append(a)
        if len(calls) == 2:
            raise KeyboardInterrupt
        rename(a, b)

    monkeypatch.setattr(os, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "model", "second", overwrite=True)
    assert (tmp_path / "model/edgeq.json").read_text() == "first"
    assert os.listdir(tmp_path) == ["model"]


def test_an_output_that_appears_meanwhile_is_not_touched(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"), artifact_folder(tmp_path / "model"):
        fill(tmp_path / "model", "the other")
    assert (tmp_path / "model/edgeq.json").read_text() == "the other"


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="disk is full"), artifact_folder(tmp_path / "model"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not os.listdir(tmp_path)


def test_other_errors_of_the_system_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), artifact_folder(tmp_path / "model"):
        (tmp_path / "absent").read_bytes()


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"), artifact_folder(tmp_path / "file" / "model"):
        pass


WRITER = """
import sys, time
from pathlib import Path
from edgeq.artifact.folder import artifact_folder
with artifact_folder(Path(sys.argv[1])) as folder:
    (folder / "weights").write_bytes(bytes(1 << 20))
    print("writing", flush=True)
    time.sleep(60)
"""


def start_writer(out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(out)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert writer.stdout is not None and writer.stdout.readline() == b"writing\n"
    return writer


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    writer = start_writer(tmp_path / "model")
    writer.send_signal(signal.SIGINT)
    writer.communicate(timeout=30)
    assert writer.returncode != 0
    assert not os.listdir(tmp_path)


def test_what_a_killed_writer_left_is_removed_but_not_a_living_ones(tmp_path: Path) -> None:
    killed, living = start_writer(tmp_path / "model"), start_writer(tmp_path / "model")
    killed.kill()
    killed.communicate(timeout=30)
    assert len(os.listdir(tmp_path)) == 2
    fill(tmp_path / "model", "x")
    assert len(os.listdir(tmp_path)) == 2 and (tmp_path / "model").exists()
    living.send_signal(signal.SIGINT)
    living.communicate(timeout=30)
    assert os.listdir(tmp_path) == ["model"]


def test_an_output_set_aside_by_a_killed_writer_comes_back(tmp_path: Path) -> None:
    fill(tmp_path / ".model.edgeq-0123abcd.old", "first")
    with pytest.raises(ValueError), artifact_folder(tmp_path / "model"):
        raise ValueError
    assert (tmp_path / "model/edgeq.json").read_text() == "first"
