"""What must not run is refused with a reason."""

from __future__ import annotations

import ctypes
import gc
import shutil
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_model import RUNTIME, Toy, build, compile_with, write_manifest

from edgeq.errors import ArtifactError, TargetError, UsageError
from edgeq.runtime.library import COptions, Library
from edgeq.runtime.loader import Session


@pytest.fixture
def copy(toy: Toy, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy.folder, tmp_path / "copy"))


def test_a_flipped_byte_in_the_weights(copy: Path):
    weights = copy / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"weights.safetensors: hash [0-9a-f]{16}, but this code was built for"):
        Session(copy)
    write_manifest(copy)  # a manifest that agrees does not help: model.so knows its weights
    with pytest.raises(ArtifactError, match="damaged or of another artifact"):
        Session(copy)


def test_a_flipped_byte_in_model_so_is_found_before_it_is_loaded(copy: Path):
    library = copy / "model.so"
    data = bytearray(library.read_bytes())
    data[len(data) // 2] ^= 1
    library.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"model\.so has other contents"):
        Session(copy)


@pytest.mark.parametrize("name", ["model.so", "weights.safetensors"])
def test_a_missing_file(copy: Path, name: str):
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        Session(copy)
    with pytest.raises(ArtifactError, match=name):
        Session(copy, verify=False)


def test_half_a_download(copy: Path):
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(ArtifactError, match=r"5000 bytes, but this code was built for"):
        Session(copy, verify=False)


@pytest.mark.parametrize("header", [0, 3, 1 << 40])
def test_a_wrong_header_without_the_hash(copy: Path, header: int):
    weights = copy / "weights.safetensors"
    weights.write_bytes(struct.pack("<Q", header) + weights.read_bytes()[8:])
    with pytest.raises(ArtifactError, match="header of the wrong size"):
        Session(copy, verify=False)


def test_another_machine(copy: Path):
    write_manifest(copy, target="pdp-11")
    with pytest.raises(TargetError, match="compiled for pdp-11"):
        Session(copy)
    elf = bytearray((copy / "model.so").read_bytes())
    elf[18:20] = struct.pack("<H", 2)  # e_machine: SPARC
    (copy / "model.so").write_bytes(elf)
    with pytest.raises(TargetError, match="cannot load"):
        Session(copy, verify=False)


def test_a_library_that_is_no_model(tmp_path: Path):
    (tmp_path / "empty.c").write_text("int x;")
    out = tmp_path / "model.so"
    subprocess.run([sys.executable, "-m", "ziglang", "cc", "-shared", "-o", out, tmp_path / "empty.c"], check=True)
    with pytest.raises(ArtifactError, match="not a model of edgeq"):
        Library(out)


def test_a_library_of_another_api_version(tmp_path: Path):
    (tmp_path / "old.c").write_text("int edgeq_version(void) { return 1; }")
    out = tmp_path / "model.so"
    subprocess.run([sys.executable, "-m", "ziglang", "cc", "-shared", "-o", out, tmp_path / "old.c"], check=True)
    with pytest.raises(ArtifactError, match=r"C API 1, edgeq speaks \d+: compile the model again"):
        Library(out)


def test_a_plan_of_another_abi(tmp_path: Path):
    toy = build(tmp_path / "abi", abi=7)
    with pytest.raises(ArtifactError, match="ABI 7"):
        Session(toy.folder)


def test_variants(toy: Toy):
    with Session(toy.folder, variant="plain") as session:
        assert session.info.variant == "plain"
    with pytest.raises(TargetError, match=r"variant future needs warp_drive; this CPU lacks warp_drive"):
        Session(toy.folder, variant="future")
    with pytest.raises(UsageError, match=r"no variant avx9 here; there are future plain"):
        Session(toy.folder, variant="avx9")


@pytest.mark.parametrize("threads", [-1, 65])
def test_threads_that_mean_nothing(toy: Toy, threads: int):
    with pytest.raises(UsageError, match="give 1 to 64"):
        Session(toy.folder, threads=threads)


def test_a_model_compiled_again_in_its_place_is_the_new_one(tmp_path: Path):
    folder = tmp_path / "model"
    old = build(folder, seed=2)
    with Session(folder) as a:
        a.feed([1])
        new = build(folder, seed=3, vocab=40, bias=1)
        with Session(folder) as b:
            b.feed([1])
            a.feed([2])
            np.testing.assert_array_equal(a.last_logits(), old.logits([1, 2]))
            np.testing.assert_array_equal(b.last_logits(), new.logits([1]))


def test_open_and_close_by_different_threads(toy: Toy):
    made: list[Session] = []

    def make():
        made.append(Session(toy.folder, threads=2))
        made[0].feed([1, 2, 3])

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(made[0].last_logits(), toy.logits([1, 2, 3]))
    closer = threading.Thread(target=made[0].close)
    closer.start()
    closer.join()
    with pytest.raises(UsageError, match="closed"):
        made[0].feed([1])


def _resident_kb() -> int:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1])


def test_ten_thousand_contexts_leave_nothing_behind(toy: Toy):
    library = Library(toy.folder / "model.so")
    path, handle, tokens = str(toy.folder).encode(), ctypes.c_void_p(), (ctypes.c_int32 * 3)(1, 2, 3)
    options = [COptions(2 if i == 1 else 1, 0, None) for i in range(16)]

    def cycle(times: int):
        for i in range(times):
            assert library.open(path if i % 8 else b"/nowhere", options[i % 16], handle) == (0 if i % 8 else 6)
            library.feed(handle, tokens, 3)
            library.close(handle)

    cycle(500)
    gc.collect()
    before = _resident_kb()
    cycle(9500)
    assert _resident_kb() - before < 2048
    assert len(list(Path("/proc/self/task").iterdir())) < 64


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300))
def test_xxh64_is_xxhash(xxh64, data: bytes):
    assert xxh64(data, len(data)) == xxhash.xxh64_intdigest(data)


@pytest.fixture(scope="session")
def xxh64(toy: Toy, tmp_path_factory: pytest.TempPathFactory):
    """The C function, which model.so does not export, in a library of its own."""
    out = tmp_path_factory.mktemp("xxh64") / "all.so"
    compile_with([sys.executable, "-m", "ziglang", "cc"], toy.folder, out, "-fvisibility=default")
    function = ctypes.CDLL(str(out)).edgeq_xxh64
    function.restype, function.argtypes = ctypes.c_uint64, (ctypes.c_char_p, ctypes.c_uint64)
    return function


def test_the_header_says_the_version_that_python_speaks():
    from edgeq.runtime.library import API_VERSION

    assert f"#define EDGEQ_API_VERSION {API_VERSION}\n" in (RUNTIME / "edgeq.h").read_text()


def aligned(data: bytes) -> tuple[ctypes.Array, int]:
    """A copy of `data`, and the first address in it that is a multiple of 64."""
    memory = ctypes.create_string_buffer(len(data) + 64)
    start = -ctypes.addressof(memory) % 64
    ctypes.memmove(ctypes.addressof(memory) + start, data, len(data))
    return memory, ctypes.addressof(memory) + start


def open_memory(library: Library, address: int, size: int) -> tuple[int, ctypes.c_void_p]:
    """(status, context) of edgeq_open_memory."""
    function = library._dll.edgeq_open_memory
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(COptions), ctypes.POINTER(ctypes.c_void_p))
    context = ctypes.c_void_p()
    return function(address, size, None, ctypes.byref(context)), context


def test_weights_in_memory_stay_the_callers(toy: Toy):
    library, data = Library(toy.folder / "model.so"), (toy.folder / "weights.safetensors").read_bytes()
    memory, address = aligned(data)
    for _ in range(2):  # closing the first context must not take the memory away
        status, context = open_memory(library, address, len(data))
        assert status == 0
        assert library.feed(context, (ctypes.c_int32 * 3)(3, 1, 4), 3) == 0
        logits = np.ctypeslib.as_array(library.logits(context), (100,)).copy()
        library.close(context)
        np.testing.assert_array_equal(logits, toy.logits([3, 1, 4]))
    assert bytes(memory)[address - ctypes.addressof(memory) :][: len(data)] == data


@pytest.mark.parametrize(
    ("shift", "short", "flip", "status", "text"),
    [
        (4, 0, False, 2, "a multiple of 64"),
        (0, 1, False, 6, "bytes, but this code was built for"),
        (0, 0, True, 6, "hash"),
    ],
)
def test_weights_in_memory_are_checked(toy: Toy, shift: int, short: int, flip: bool, status: int, text: str):
    library, data = Library(toy.folder / "model.so"), bytearray((toy.folder / "weights.safetensors").read_bytes())
    data[-1] ^= flip
    memory, address = aligned(bytes(data) + bytes(64))
    got, context = open_memory(library, address + shift, len(data) - short)
    assert (got, len(memory) > 0) == (status, True)
    assert text in library.error(context).decode()
    library.close(context)
