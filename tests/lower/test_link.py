"""An artifact can be linked again, into programs that need nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgeq.errors import ArtifactError, ToolchainError
from edgeq.lower.link import link_program
from edgeq.runtime.loader import Session

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "generate.c"


def test_a_static_program_gives_the_sessions_tokens(tiny_artifact: Path, tmp_path: Path):
    program = tmp_path / "generate"
    link_program(tiny_artifact, [EXAMPLE], program)
    assert b"ld-linux" not in program.read_bytes()  # no interpreter: static
    done = subprocess.run([program, tiny_artifact, "-n", "6", "5", "9"], capture_output=True, text=True, check=True)
    with Session(tiny_artifact) as session:
        session.feed([5, 9])
        expected = []
        for _ in range(6):
            expected.append(session.sample())
            session.feed(expected[-1:])
    assert [int(word) for word in done.stdout.split()] == expected


def test_nothing_is_left_of_a_program_that_does_not_link(tiny_artifact: Path, tmp_path: Path):
    broken = tmp_path / "broken.c"
    broken.write_text("int main(void) { return no_such_function(); }")
    with pytest.raises(ToolchainError, match="no_such_function"):
        link_program(tiny_artifact, [broken], tmp_path / "program")
    assert [p.name for p in tmp_path.iterdir()] == ["broken.c"]


def test_an_artifact_without_its_kernels_is_named(tiny_artifact: Path, tmp_path: Path):
    copy = Path(shutil.copytree(tiny_artifact, tmp_path / "copy"))
    (copy / "kernels.a").unlink()
    with pytest.raises(ArtifactError, match=r"kernels\.a: no such file.*compile the model again"):
        link_program(copy, [EXAMPLE], tmp_path / "program")
