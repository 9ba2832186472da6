"""Libraries for Android, under loaders and libcs of others, compute and refuse what model.so does."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import toy_model
from android_toy import Toy, build_here, make
from both_targets import BothTargets, Feed
from loaders import HERE, LOADERS, Loader, Program
from qemu import CPUS, available

from edgeq.compiling.compiler import Options
from edgeq.lower.android import link_android
from edgeq.lower.build import WEIGHTS
from edgeq.quant.bits import Bits
from edgeq.runtime.loader import Session
from edgeq.targets import find

pytestmark = pytest.mark.skipif(not available(), reason="no qemu-aarch64: run .ci/install-qemu")
EVERY = pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.name)
OBJDUMP = "llvm-objdump-19"
TOKENS = [256, 72, 101, 108, 108, 111, 32, 119, 111, 114, 108, 100, 33, 10, 65, 66, 67]  # more than one chunk


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def static_toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """An encoder-decoder: static entries and tokens."""
    return make(tmp_path_factory.mktemp("static"), "toy_static.c")


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
@pytest.mark.parametrize(("model", "main"), [("toy", "stress.c"), ("static_toy", "stress_static.c")])
def test_threads_profiles_and_samples_agree(
    request: pytest.FixtureRequest, programs, tmp_path: Path, loader: Loader, model: str, main: str
) -> None:
    """Programs with threads of their own, each with a context and workers."""
    toy, source = request.getfixturevalue(model), toy_model.HERE / main
    here = build_here(source, toy, tmp_path / "stress")
    expected = subprocess.run([here, toy.here], capture_output=True, check=True).stdout
    done = programs(source, loader).run(toy.library, "cortex-a76", str(toy.here))
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
