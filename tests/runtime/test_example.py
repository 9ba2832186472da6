"""A compiled model in a bare process: a C program, no Python, no TVM, no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from toy_model import CONTEXT, HERE, RUNTIME, Toy

from edgeq.runtime.loader import Session

EXAMPLES = HERE.parent.parent / "examples"
SYSTEM = ("linux-vdso", "libc.so", "libm.so", "libpthread.so", "/lib", "/lib64")


def build(artifact: Path, out: Path) -> Path:
    """The example of that name linked with an artifact's model.so, as examples/README.md says."""
    zig = [sys.executable, "-m", "ziglang", "cc", "-Wall", "-Wextra", "-Werror", "-O2"]
    link = ["-L", artifact, "-l:model.so", f"-Wl,-rpath,{artifact}"]
    subprocess.run([*zig, "-I", RUNTIME, EXAMPLES / f"{out.name}.c", *link, "-lm", "-o", out], check=True)
    return out


def run(program: Path, *args: object, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run it elsewhere, with nothing in its environment."""
    words = [str(a) for a in (program, *args)]
    return subprocess.run(words, cwd="/", env=env, input=stdin, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture(scope="session")
def program(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(toy.folder, tmp_path_factory.mktemp("example") / "generate")


def continued(toy: Toy, ids: list[int], count: int) -> list[int]:
    ids = list(ids)
    for _ in range(count):
        ids.append(int(toy.logits(ids).argmax()))
    return ids[-count:]


@pytest.mark.parametrize("threads", [1, 2])
def test_it_generates(toy: Toy, program: Path, threads: int):
    expected = continued(toy, [5, 9, 2], 10)
    for args, stdin in (((5, 9, 2), ""), ((), "5 9\n2\n")):
        done = run(program, toy.folder, "-n", 10, "-t", threads, *args, stdin=stdin)
        assert (done.returncode, [int(i) for i in done.stdout.split()]) == (0, expected)
        assert "10 new" in done.stderr


def test_it_stops_at_the_stop_token_and_at_the_end_of_the_context(toy: Toy, program: Path):
    expected = continued(toy, [3], CONTEXT)
    stop = expected[0]
    assert run(program, toy.folder, "-e", stop, 3).stdout.split() == []
    done = run(program, toy.folder, "-n", 1000, 3)
    assert (done.returncode, len(done.stdout.split())) == (0, CONTEXT)
    assert "stopped: the context is full" in done.stderr


def test_the_seed_decides(toy: Toy, program: Path):
    def tokens(seed: int) -> str:
        return run(program, toy.folder, "-n", 30, "-T", 200, "-k", 50, "-p", 0.95, "-s", seed, 1).stdout

    assert tokens(1) == tokens(1) != tokens(2)


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ([], 2, "usage"),
        (["/nowhere", 1], 6, "/nowhere"),
        (["MODEL", "-v", "future", 1], 7, "lacks warp_drive"),
        (["MODEL", *[1] * (CONTEXT + 1)], 8, "the context is full"),
        (["MODEL", 999], 2, "outside 0..99"),
        (["MODEL"], 2, "at least one"),
    ],
)
def test_failures_are_one_line_and_a_code(toy: Toy, program: Path, args: list[object], code: int, text: str):
    done = run(program, *(toy.folder if a == "MODEL" else a for a in args))
    assert done.returncode == code
    assert text in done.stderr
    assert done.stderr.count("\n") == 1


LISTING = """\
decode: tokens, up to 1 at once (edgeq_feed)
encode: static (edgeq_run)
  in  input_ids int32[2, 7], rows 16 apart, values 0..99
  in  attention_mask int32[2, 7], rows 16 apart
  out features float32[2, 7, 5], rows 16 apart
  out count int32[]
score: static (edgeq_run)
  in  features float32[2, 7, 5], rows 16 apart
  in  query float32[5]
  out scores float32[2, 7]
  out best int32[2]
"""


def test_entries_lists_tensors_and_times_a_run(encoder_decoder: Toy, tmp_path: Path):
    program = build(encoder_decoder.folder, tmp_path / "entries")
    done = run(program, encoder_decoder.folder)
    assert (done.returncode, done.stdout) == (0, LISTING)
    done = run(program, encoder_decoder.folder, "score", "-n", 3)
    assert done.returncode == 0
    assert re.fullmatch(r"score: \d+\.\d{3} ms a run\n", done.stdout)
    for entry, text in (("image", "no entry image; this model has decode encode score"), ("decode", "edgeq_feed")):
        done = run(program, encoder_decoder.folder, entry)
        assert done.returncode == 2
        assert text in done.stderr


def test_embed_masks_what_is_no_text(static_toy: Toy, tmp_path: Path):
    program = build(static_toy.folder, tmp_path / "embed")
    ids = [5, 9, 2]
    done = run(program, static_toy.folder, *ids)
    rows = np.roll(static_toy.embedding[ids, :5], -1, axis=1).sum(0)
    np.testing.assert_allclose([float(x) for x in done.stdout.split()], rows / np.linalg.norm(rows), atol=1e-6)
    assert run(program, static_toy.folder, *range(8)).returncode == 8
    done = run(program, static_toy.folder, 100)
    assert (done.returncode, done.stdout) == (2, "")
    assert "value 0 of input input_ids is 100, outside 0..99" in done.stderr


def test_a_compiled_model_runs_in_a_bare_process(tiny_artifact: Path, tmp_path: Path):
    """What the loader maps is the program, model.so and the C library; the tokens are those of the Python session."""
    program = build(tiny_artifact, tmp_path / "generate")
    mapped = run(program, LD_TRACE_LOADED_OBJECTS="1").stdout
    libraries = [line.split()[0] for line in mapped.splitlines()]
    assert [name for name in libraries if not name.startswith(SYSTEM)] == ["model.so"]
    done = run(program, tiny_artifact, "-n", 12, 1, 2, 3)
    with Session(tiny_artifact) as session:
        session.feed([1, 2, 3])
        expected = [session.sample()]
        while len(expected) < 12:
            session.feed(expected[-1:])
            expected.append(session.sample())
    assert [int(i) for i in done.stdout.split()] == expected
