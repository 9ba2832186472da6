"""Libraries for Android: they need nothing, and under another's loader and libc they compute what model.so computes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import toy_model
from both_targets import BothTargets, Feed
from click.testing import CliRunner
from loaders import HERE, LOADERS, Loader, Program, readelf
from qemu import CPUS, available

from edgeq.cli.app import app
from edgeq.compiler import Options
from edgeq.errors import ArtifactError, UnsupportedError
from edgeq.lower.android import link_android
from edgeq.lower.build import WEIGHTS
from edgeq.lower.toolchain import RUNTIME, archive
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session
from edgeq.targets import find

pytestmark = pytest.mark.skipif(not available(), reason="no qemu-aarch64: run .ci/install-qemu")
EVERY = pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.name)
OBJDUMP = "llvm-objdump-19"
TOKENS = [256, 72, 101, 108, 108, 111, 32, 119, 111, 114, 108, 100, 33, 10, 65, 66, 67]  # more than one chunk
STRESS = HERE.parent / "runtime" / "stress.c"


@dataclass(frozen=True)
class Toy:
    """The toy as a library for Android, and as model.so of this machine, with one weights file."""

    library: Path
    here: Path

    @property
    def weights(self) -> Path:
        return self.here / "weights.safetensors"


def make_artifact(folder: Path) -> Path:
    """The toy as an artifact for arm64: its kernels are in its plan."""
    toy_model.build(folder)
    shutil.copy(toy_model.HERE / "toy.c", folder / "model.c")
    archive([], folder / "kernels.a")
    toy_model.write_manifest(folder, target="arm64")
    return folder


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    folder = make_artifact(tmp_path_factory.mktemp("toy"))
    library = folder / "libedgeq_toy.so"
    link_android(folder, library)
    return Toy(library, folder)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory):
    """Builds each main with each loader once."""
    folder, made = tmp_path_factory.mktemp("programs"), {}

    def program(main: Path, loader: Loader) -> Program:
        if (main, loader) not in made:
            made[main, loader] = loader.build(main, folder)
        return made[main, loader]

    return program


@pytest.fixture(scope="module")
def drive_here(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """drive.c of this machine with the toy's model.so."""
    return build_here(HERE / "drive.c", toy, tmp_path_factory.mktemp("here") / "drive")


@pytest.fixture(scope="module")
def tiny(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> BothTargets:
    """A tiny Llama for both targets, of the same weights."""
    options = Options(str(tiny_model), find("arm64"), Bits.parse("w4a8"), 64, 16, calibration="none")
    return BothTargets(options, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tiny_library(tiny: BothTargets) -> Path:
    library = tiny.arm / "libedgeq_tiny.so"
    link_android(tiny.arm, library)
    return library


def build_here(main: Path, toy: Toy, out: Path) -> Path:
    options = ["-O1", f"-I{RUNTIME}", "-pthread", str(toy.here / "model.so"), f"-Wl,-rpath,{toy.here}", "-o", str(out)]
    subprocess.run([sys.executable, "-m", "ziglang", "cc", str(main), *options], check=True, capture_output=True)
    return out


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


@EVERY
@pytest.mark.parametrize("threads", [1, 3])
def test_it_computes_what_model_so_computes(toy: Toy, programs, drive_here: Path, loader: Loader, threads: int) -> None:
    work = "feed 11 1 2 3 4 5 6 7 8 9 10 11\nfeed 1 12\nfeed 2 90 91"
    arguments = [str(toy.here), "-", str(threads)]
    done = programs(HERE / "drive.c", loader).run(toy.library, "cortex-a72", *arguments, given=work)
    expected = subprocess.run([drive_here, *arguments], input=work.encode(), capture_output=True, check=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, expected.stdout, expected.stderr)
    assert len(done.stdout) == 3 * 4 * 100


@EVERY
def test_threads_profiles_and_samples_agree(toy: Toy, programs, tmp_path: Path, loader: Loader) -> None:
    """A program with threads of its own, each with a context and workers."""
    here = build_here(STRESS, toy, tmp_path / "stress")
    expected = subprocess.run([here, toy.here], capture_output=True, check=True).stdout
    done = programs(STRESS, loader).run(toy.library, "cortex-a76", str(toy.here))
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, b"")


@EVERY
@pytest.mark.parametrize("variant", CPUS)
def test_logits_are_those_of_x86_64(
    tiny: BothTargets, tiny_library: Path, programs, loader: Loader, variant: str
) -> None:
    """The CPU chooses the variant; two threads."""
    work = [Feed(TOKENS), Feed(TOKENS[:1]), Feed(TOKENS[1:3])]
    with Session(tiny.x86, verify=False) as session:
        expected = b"".join(item.here(session) for item in work)
    given = "\n".join(item.line() for item in work)
    arguments = [str(tiny.arm / WEIGHTS), "-", "2"]
    done = programs(HERE / "drive.c", loader).run(tiny_library, CPUS[variant], *arguments, given=given)
    assert (done.returncode, done.stderr.decode()) == (0, f"variant {variant}\n")
    assert done.stdout == expected and len(np.unique(np.frombuffer(expected, np.float32))) > 100


@EVERY
@pytest.mark.parametrize("variant", ["dotprod", "i8mm"])
def test_a_variant_that_the_cpu_lacks_is_refused(
    tiny: BothTargets, tiny_library: Path, programs, loader: Loader, variant: str
) -> None:
    """In the words of the same model as a static program."""
    arguments = [str(tiny.arm / WEIGHTS), variant, "1"]
    done = programs(HERE / "drive.c", loader).run(tiny_library, "cortex-a72", *arguments)
    expected = tiny.emulated([], "cortex-a72", variant)
    assert (done.returncode, done.stderr) == (expected.returncode, expected.stderr) and done.returncode == 7
    assert f"variant {variant} needs".encode() in done.stderr


@pytest.mark.skipif(shutil.which(OBJDUMP) is None, reason=f"no {OBJDUMP}")
def test_registers_of_the_platform_are_left_alone(tiny_library: Path) -> None:
    """No code names x18; tpidr_el0 is cleared in new threads, and never read."""
    text = subprocess.run([OBJDUMP, "-d", tiny_library], capture_output=True, text=True, check=True).stdout
    assert "ldp" in text and not re.findall(r"\b[xw]18\b", text)
    uses = [line.split("\t")[1:] for line in text.splitlines() if "tpidr" in line.lower()]
    assert uses == [["msr", "TPIDR_EL0, xzr"]]


def refused(toy: Toy, folder: Path) -> dict[str, tuple[list[str], int]]:
    """Arguments of drive.c that a library must refuse, and the status."""
    damaged, short, locked = folder / "damaged", folder / "short", folder / "link"
    data = bytearray(toy.weights.read_bytes())
    short.write_bytes(data[:5000])
    data[-100] ^= 1
    damaged.write_bytes(data)
    locked.symlink_to(locked)
    return {
        "a missing file": ([str(folder / "nowhere"), "-", "1"], 6),
        "a file as a folder": ([str(toy.weights / "x"), "-", "1"], 6),
        "a link to itself": ([str(locked), "-", "1"], 6),
        "a name that is too long": (["/" + "x" * 300, "-", "1"], 6),
        "a folder without weights": ([str(folder), "-", "1"], 6),
        "a flipped byte": ([str(damaged), "-", "1"], 6),
        "half a file": ([str(short), "-", "1"], 6),
        "a variant that the CPU lacks": ([str(toy.here), "future", "1"], 7),
        "a variant that is not there": ([str(toy.here), "avx9", "1"], 2),
        "too many threads": ([str(toy.here), "-", "65"], 2),
        "a negative number of threads": ([str(toy.here), "-", "-1"], 2),
    }


@EVERY
def test_it_refuses_what_model_so_refuses(toy: Toy, programs, drive_here: Path, tmp_path: Path, loader: Loader) -> None:
    for what, (arguments, status) in refused(toy, tmp_path).items():
        done = programs(HERE / "drive.c", loader).run(toy.library, "cortex-a72", *arguments)
        expected = subprocess.run([drive_here, *arguments], capture_output=True, check=False)
        assert (what, expected.returncode) == (what, status)
        assert (what, done.returncode, done.stderr) == (what, status, expected.stderr)


@EVERY
def test_wrong_tokens_are_refused_with_the_same_words(toy: Toy, programs, drive_here: Path, loader: Loader) -> None:
    for work in ("feed 2 5 100", "feed 1 -7", "feed 0", "feed 65" + " 1" * 65, "run decode", "run nothing"):
        arguments = [str(toy.here), "-", "1"]
        done = programs(HERE / "drive.c", loader).run(toy.library, "cortex-a72", *arguments, given=work)
        expected = subprocess.run([drive_here, *arguments], input=work.encode(), capture_output=True, check=False)
        assert expected.returncode in (2, 8)
        assert (done.returncode, done.stderr) == (expected.returncode, expected.stderr)


@EVERY
def test_opening_and_closing_leaves_nothing_behind(toy: Toy, programs, loader: Loader) -> None:
    done = programs(HERE / "cycles.c", loader).run(toy.library, "cortex-a72", str(toy.here), "200", "4")
    child, parent, early, late = done.stdout.decode().splitlines()
    assert child.removeprefix("child ") == parent.removeprefix("parent ") != "0"
    (before, _), (after, threads) = early.split(), late.split()
    assert threads == "0"
    assert int(after) - int(before) < 180 * 4096 / 2  # a page a cycle is twice that; heaps come and go


@EVERY
def test_signals_are_for_the_program(toy: Toy, programs, loader: Loader) -> None:
    """The library's threads have no thread-local storage, which a handler may need."""
    done = programs(HERE / "signals.c", loader).run(toy.library, "cortex-a72", str(toy.here))
    assert (done.returncode, done.stdout) == (0, b"0\n")


@EVERY
def test_variants_are_found_without_proc(toy: Toy, programs, tiny_library: Path, loader: Loader) -> None:
    """By the identification registers; the emulator shows no i8mm there."""
    weights = tiny_library.parent / "weights.safetensors"
    for cpu, variant in {"cortex-a72": "neon", "cortex-a76": "dotprod"}.items():
        done = programs(HERE / "no_files.c", loader).run(tiny_library, cpu, str(weights))
        assert (done.returncode, done.stdout.decode().strip()) == (0, variant)


def test_other_targets_are_refused(toy: Toy, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(toy.here, tmp_path / "x86"))
    toy_model.write_manifest(folder, target="x86-64")
    with pytest.raises(UnsupportedError, match="compiled for x86-64; Android libraries are made of --target arm64"):
        link_android(folder, tmp_path / "libedgeq.so")
    toy_model.write_manifest(folder, target="arm64")
    (folder / "kernels.a").unlink()
    with pytest.raises(ArtifactError, match=r"kernels\.a"):
        link_android(folder, tmp_path / "libedgeq.so")
    assert not list(tmp_path.glob("*.so*"))


def test_the_command_makes_it_once(toy: Toy, tmp_path: Path) -> None:
    out = tmp_path / "new" / "libedgeq_toy.so"
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
