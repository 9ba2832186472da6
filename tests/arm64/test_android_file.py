"""Libraries for Android as files: they need nothing, and are made whole or not at all."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import toy_model
from android_toy import Toy, make
from click.testing import CliRunner
from loaders import readelf

from edgeq.cli.app import app
from edgeq.errors import ArtifactError, UnsupportedError
from edgeq.lower.android import link_android
from edgeq.lower.toolchain import RUNTIME
from edgeq.package.library import package_library

pytestmark = pytest.mark.skipif(shutil.which("readelf") is None, reason="needs readelf")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make(tmp_path_factory.mktemp("toy"))


def test_it_needs_nothing(toy: Toy) -> None:
    tags = {row[1].strip("()") for row in readelf("-d", toy.library) if len(row) > 2 and row[0].startswith("0x")}
    assert not tags & {"NEEDED", "TEXTREL", "INIT", "INIT_ARRAY", "FINI", "FINI_ARRAY", "RUNPATH", "RPATH"}
    assert {"SONAME", "HASH", "GNU_HASH"} <= tags
    symbols = [row for row in readelf("--dyn-syms", toy.library) if len(row) >= 7 and row[0].rstrip(":").isdigit()]
    assert [row[0] for row in symbols if row[6] == "UND"] == ["0:"]
    kinds = {row[2] for row in readelf("-r", toy.library) if len(row) > 2 and row[2].startswith("R_")}
    assert kinds == {"R_AARCH64_RELATIVE"}


def test_it_exports_the_api_and_nothing_else(toy: Toy) -> None:
    symbols = [row for row in readelf("--dyn-syms", toy.library) if len(row) == 8 and row[6].isdigit()]
    declared = re.findall(r"^EDGEQ_API .*?(edgeq_\w+)\(", (RUNTIME / "edgeq.h").read_text(), re.MULTILINE)
    assert sorted(row[7] for row in symbols) == sorted(declared)


def test_segments_stand_on_pages_of_16_kb(toy: Toy) -> None:
    segments = [row for row in readelf("-l", toy.library) if row and (row[0] == "LOAD" or row[0].startswith("GNU_"))]
    loads = [row for row in segments if row[0] == "LOAD"]
    assert {row[-1] for row in loads} == {"0x4000"}
    ends, starts = [int(r[2], 16) + int(r[5], 16) for r in loads], [int(r[2], 16) for r in loads]
    assert all(start // 0x4000 > (end - 1) // 0x4000 for end, start in zip(ends, starts[1:], strict=False))
    assert {"".join(row[6:-1]) for row in loads} == {"R", "RE", "RW"}
    relro, stack = (next(row for row in segments if row[0] == name) for name in ("GNU_RELRO", "GNU_STACK"))
    assert (int(relro[2], 16) + int(relro[5], 16)) % 0x4000 == 0
    assert "E" not in "".join(stack[6:-1])
    assert not [row for row in readelf("-l", toy.library) if row[:1] == ["TLS"]]


def test_nothing_is_written_but_error_numbers(toy: Toy) -> None:
    sizes = {row[1]: int(row[5], 16) for row in readelf("-S", toy.library) if row[1:2] and row[1][0] == "."}
    assert sizes.get(".data", 0) == 0 and sizes.get(".bss", 0) <= 512


def test_other_targets_are_refused(toy: Toy, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(toy.here, tmp_path / "x86"))
    toy_model.write_manifest(folder, target="x86-64")
    with pytest.raises(UnsupportedError, match="compiled for x86-64; Android libraries are made of --target arm64"):
        link_android(folder, tmp_path / "libedgeq.so")
    said: list[str] = []
    with pytest.raises(UnsupportedError, match="compiled for x86-64"):
        package_library(folder, tmp_path / "libedgeq.so", progress=lambda stage, done, total: said.append(stage))
    assert not said, "work was announced"
    toy_model.write_manifest(folder, target="arm64")
    (folder / "kernels.a").unlink()
    with pytest.raises(ArtifactError, match=r"kernels\.a"):
        link_android(folder, tmp_path / "libedgeq.so")
    assert not list(tmp_path.glob("*.so*"))


def test_the_command_makes_it_once(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "new" / "libedgeq_toy.so"
    out.parent.mkdir()
    call = ["package", str(toy.here), "--as", "library", "-o", str(out)]
    made = json.loads(CliRunner().invoke(app, [*call, "--json"]).stdout)
    assert made["total_bytes"] == out.stat().st_size == toy.library.stat().st_size
    assert made["weights"] == str(toy.weights) and made["target"] == "arm64"
    assert out.read_bytes() == toy.library.read_bytes()
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 5 and "exists already" in again.stderr
    assert CliRunner().invoke(app, [*call, "--overwrite"]).exit_code == 0
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_a_damaged_artifact_makes_no_library(toy: Toy, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(toy.here, tmp_path / "toy"))
    (folder / "kernels.a").write_bytes(b"!<arch>\nx")
    result = CliRunner().invoke(app, ["package", str(folder), "--as", "library", "-o", str(tmp_path / "lib.so")])
    assert result.exit_code == 6 and "kernels.a" in result.stderr
    assert not list(tmp_path.glob("lib*"))
