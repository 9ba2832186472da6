"""The runtime under the system compiler's sanitizers: memory, undefined behaviour, races."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toy_model import HERE, RUNTIME, Toy, sources

WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Werror", "-Wno-unknown-pragmas"]


def build_stress(cc: list[str], toy: Toy, plan: str, main: str, out: Path, *flags: str) -> None:
    command = [*cc, "-std=gnu11", f"-I{RUNTIME}", f"-I{toy.folder}", *sources(plan), str(HERE / main), "-pthread"]
    done = subprocess.run([*command, *flags, "-o", str(out)], capture_output=True, text=True, check=False)
    if "cannot find" in done.stderr or "unsupported" in done.stderr:
        pytest.skip(f"this compiler cannot: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
@pytest.mark.parametrize(
    ("model", "plan", "main"),
    [("toy", "toy.c", "stress.c"), ("encoder_decoder", "toy_static.c", "stress_static.c")],
)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc with its sanitizers")
def test_sanitizers_find_nothing(
    request: pytest.FixtureRequest, tmp_path: Path, sanitizer: str, model: str, plan: str, main: str
):
    toy, program = request.getfixturevalue(model), tmp_path / "stress"
    flags = ["-g", "-O1", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=undefined"]
    build_stress(["gcc"], toy, plan, main, program, *WARNINGS, *flags)
    done = subprocess.run([program, toy.folder], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("target", ["x86_64-linux-musl", "aarch64-linux-gnu.2.28", "aarch64-linux-musl"])
def test_it_compiles_for_other_targets(toy: Toy, tmp_path: Path, target: str):
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-std=gnu11", "-O2", *WARNINGS]
    subprocess.run([*zig, f"-I{RUNTIME}", f"-I{toy.folder}", "-c", *sources()], cwd=tmp_path, check=True)


def test_the_header_is_c_plus_plus(tmp_path: Path):
    source = tmp_path / "use.cpp"
    source.write_text('#include "edgeq.h"\nint main() { return edgeq_version() != EDGEQ_API_VERSION; }\n')
    zig = [sys.executable, "-m", "ziglang", "c++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([*zig, f"-I{RUNTIME}", "-c", source, "-o", tmp_path / "use.o"], check=True)


def readelf(option: str, library: Path) -> list[list[str]]:
    """Words of each line that `readelf` prints."""
    tool = shutil.which("readelf")
    if tool is None:
        pytest.skip("needs readelf")
    text = subprocess.run([tool, "-W", option, library], capture_output=True, text=True, check=True).stdout
    return [line.replace("[", " ").replace("]", " ").split() for line in text.splitlines()]


def test_model_so_exports_the_api_and_nothing_else(toy: Toy):
    rows = [row for row in readelf("--dyn-syms", toy.folder / "model.so") if len(row) == 8 and row[6].isdigit()]
    header = (RUNTIME / "edgeq.h").read_text()
    declared = {
        line.split("(")[0].split()[-1].lstrip("*") for line in header.splitlines() if line.startswith("EDGEQ_API ")
    }
    assert {row[7] for row in rows} == declared


def test_model_so_needs_only_libc(toy: Toy):
    needed = {row[-1] for row in readelf("-d", toy.folder / "model.so") if "(NEEDED)" in row}
    assert needed <= {"libc.so.6", "libpthread.so.0", "libm.so.6"}


def test_model_so_has_no_mutable_state(toy: Toy):
    """Contexts and models coexist because nothing is written outside them; start code has a few bytes."""
    sections = {
        row[1]: int(row[5], 16) for row in readelf("-S", toy.folder / "model.so") if row[1:2] and row[1][0] == "."
    }
    assert sections.get(".data", 0) + sections.get(".bss", 0) <= 32
    assert ".tdata" not in sections
