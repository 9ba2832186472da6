"""The packaged file: whole or not there, nothing but weights and a little, and enough by itself."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from qemu import CPUS, qemu

import edgeq
from edgeq.cli.app import app
from edgeq.cli.package import hint
from edgeq.errors import ArtifactError, OutputError, UnsupportedError
from edgeq.package.elf import read_segments
from edgeq.package.package import package
from edgeq.package.programs import PROGRAMS, program_of
from edgeq.targets import native_name


def test_the_file_is_static_and_holds_the_weights_as_they_are(chat) -> None:
    program = chat.path.read_bytes()
    weights = (chat.artifact.path / "weights.safetensors").read_bytes()
    _, segments = read_segments(program)
    assert not {2, 3} & {segment.type for segment in segments}  # PT_DYNAMIC, PT_INTERP: no library, no interpreter
    assert program.endswith(weights) and (len(program) - len(weights)) % 4096 == 0
    assert stat.S_IMODE(chat.path.stat().st_mode) == 0o755
    assert len(program) - len(weights) < 1 << 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the root folder")
def test_it_runs_on_an_empty_file_system(chat, tmp_path: Path) -> None:
    shutil.copy(chat.path, tmp_path / "app")
    call = ["/app", "-n", "8", "x"]
    done = subprocess.run(call, preexec_fn=lambda: os.chroot(tmp_path), cwd="/", capture_output=True, check=False)
    assert done.stdout.decode() == chat.answer("-n", "8", "x")


def test_it_opens_no_file(arm_program: Path) -> None:
    """Seen by the emulator."""
    call = [*qemu(CPUS["neon"]), "-strace", str(arm_program), "-t", "2", "-n", "3", "x"]
    done = subprocess.run(call, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0
    calls = [line for line in done.stderr.decode(errors="replace").splitlines() if "open" in line or "readlink" in line]
    assert not [line for line in calls if "= -1" not in line]


@pytest.mark.parametrize("variant", CPUS)
def test_arm64_answers_as_this_machine_does(chat, arm_program: Path, variant: str) -> None:
    call = [*qemu(CPUS[variant]), str(arm_program)]
    info = subprocess.run([*call, "--info"], capture_output=True, timeout=120, check=True).stdout.decode()
    assert f"variant     {variant}," in info
    answer = subprocess.run([*call, "-n", "8", "hello"], capture_output=True, timeout=120, check=True).stdout
    assert answer.decode() == chat.answer("-n", "8", "hello")


def test_a_variant_that_the_cpu_lacks_is_refused(arm_program: Path) -> None:
    call = [*qemu(CPUS["neon"]), str(arm_program), "--variant", "dotprod", "x"]
    done = subprocess.run(call, capture_output=True, timeout=120, check=False)
    assert done.returncode == 7 and b"dotprod" in done.stderr and done.stdout == b""


@pytest.mark.parametrize("where", ["weights", "facts", "header", "end"])
def test_a_damaged_program_is_refused(chat, tmp_path: Path, where: str) -> None:
    program = bytearray(chat.path.read_bytes())
    places = {"weights": len(program) - 100, "facts": program.index(b"kind\0chat\0") + 5}
    places["header"] = places["facts"] // 4096 * 4096 + 16 + 5  # an offset, far too large
    if where == "end":  # a copy that was cut short
        del program[len(program) - (1 << 16) :]
    else:
        program[places[where]] ^= 1
    damaged = tmp_path / "app"
    damaged.write_bytes(program)
    damaged.chmod(0o755)
    done = subprocess.run([damaged, "x"], capture_output=True, check=False)
    assert done.returncode == 6 and (b"damaged" in done.stderr or where == "end") and done.stdout == b""
    assert done.stderr.startswith(b"app: error: ")
    assert done.stderr.count(b"\n") == 1


def test_nothing_is_replaced_unless_asked(tiny_artifact: Path, tmp_path: Path) -> None:
    out = tmp_path / "app"
    out.write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        package(tiny_artifact, out)
    assert out.read_text() == "mine"
    with pytest.raises(OutputError, match="is a folder"):
        package(tiny_artifact, tmp_path, overwrite=True)
    made = package(tiny_artifact, out, overwrite=True)
    assert out.stat().st_size == made.total_bytes and os.listdir(tmp_path) == ["app"]


def test_a_folder_that_takes_no_file_is_refused_before_linking(tiny_artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no such folder"):
        package(tiny_artifact, tmp_path / "none" / "app")
    with pytest.raises(OutputError, match="no file can be made in /proc"):
        package(tiny_artifact, Path("/proc/app"))
    assert os.listdir(tmp_path) == []


def test_programs_for_other_machines_are_not_tried_here() -> None:
    assert hint(native_name(), "./app x") == "try: ./app x"
    other = "x86-64" if native_name() == "arm64" else "arm64"
    assert hint(other, "./app x").startswith("copy it to a")


def test_a_failure_leaves_nothing(tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edgeq.package.package.shutil.copyfileobj", full)
    with pytest.raises(OutputError, match="disk is full"):
        package(tiny_artifact, tmp_path / "app")
    assert os.listdir(tmp_path) == []


def test_a_damaged_artifact_is_refused(tiny_artifact: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_artifact, tmp_path / "copy")
    (copy / "kernels.a").unlink()
    with pytest.raises(ArtifactError, match=r"kernels\.a is missing"):
        package(copy, tmp_path / "app")


def test_kinds_without_a_program_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="encoder-decoder models"):
        program_of("encoder-decoder", None)
    with pytest.raises(UnsupportedError, match="photos cannot be prepared: no preprocessor"):
        program_of("segmentation", "no preprocessor")


@pytest.mark.parametrize("kind", PROGRAMS)
def test_every_program_has_its_files(kind: str) -> None:
    sources = PROGRAMS[kind].sources
    assert len(set(sources)) == len(sources) and all(source.is_file() for source in sources)
    assert any(PROGRAMS[kind].run in source.read_text() for source in sources)


def test_the_command(tiny_artifact: Path, tmp_path: Path) -> None:
    out = tmp_path / "app"
    result = CliRunner().invoke(app, ["package", str(tiny_artifact), "-o", str(out), "--json"])
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["total_bytes"] == out.stat().st_size and said["kind"] == edgeq.load(tiny_artifact).kind
    again = CliRunner().invoke(app, ["package", str(tiny_artifact), "-o", str(out)])
    assert again.exit_code == 5 and "--overwrite" in again.stderr
    result = CliRunner().invoke(app, ["package", str(tiny_artifact), "-o", str(out), "--overwrite"])
    assert result.exit_code == 0 and "chat for x86-64" in result.stdout
