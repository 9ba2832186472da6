"""Kernels as plain C functions: compiled for every ISA this machine runs, linked by zig, called on numpy arrays."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from edgeq.kernels.kernel import Kernel, Param
from edgeq.targets import x86_64
from edgeq.targets.isa import Isa

_FLAG = {"avx512vnni": "avx512_vnni"}  # the kernel's spelling in /proc/cpuinfo where it differs from ours


def runnable_isas() -> tuple[Isa, ...]:
    """The x86-64 variants that this machine can execute."""
    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = set(next((line.split() for line in cpuinfo.splitlines() if line.startswith("flags")), []))
    return tuple(i for i in x86_64.TARGET.isas if all(_FLAG.get(f, f) in flags for f in i.needs))


ISAS = runnable_isas()


class Library:
    """Loaded kernels. `lib(isa, kernel, lo, hi, *scalars, *arrays)`; an array may be None for a null pointer."""

    def __init__(self, shared: ctypes.CDLL):
        self.shared = shared

    def __call__(self, isa: Isa, kernel: Kernel, lo: int, hi: int, *args: int | np.ndarray | None) -> None:
        assert len(args) == len(kernel.params), (kernel.name, [p.name for p in kernel.params])
        converted = [self._argument(p, a) for p, a in zip(kernel.params, args, strict=True)]
        self.shared[f"{kernel.name}_{isa.name}"](lo, hi, *converted)

    @staticmethod
    def _argument(param: Param, value: int | np.ndarray | None) -> ctypes.c_int | ctypes.c_void_p:
        if param.access == "value":
            assert isinstance(value, (int, np.integer))
            return ctypes.c_int(int(value))
        if value is None:
            return ctypes.c_void_p(0)
        assert isinstance(value, np.ndarray) and value.flags.c_contiguous
        return ctypes.c_void_p(value.ctypes.data)


def link(objects: Iterable[Path], output: Path) -> ctypes.CDLL:
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", x86_64.TARGET.zig_triple]
    options = ["-shared", "-s", "-Wl,-z,defs", "-o", str(output)]
    subprocess.run([*zig, *options, *map(str, objects), "-lm"], check=True)
    return ctypes.CDLL(str(output))


@pytest.fixture(scope="module")
def compile_kernels(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Iterable[Kernel]], Library]:
    """`compile_kernels(kernels)` -> Library with every kernel for every runnable ISA."""
    from edgeq.kernels.compile import compile_object

    def build(kernels: Iterable[Kernel]) -> Library:
        folder, kernels = tmp_path_factory.mktemp("kernels"), list(kernels)
        objects = [folder / f"{isa.name}.o" for isa in ISAS]
        for isa, path in zip(ISAS, objects, strict=True):
            compile_object(kernels, isa, path)
        return Library(link(objects, folder / "kernels.so"))

    return build


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def aligned(array: np.ndarray) -> np.ndarray:
    """A copy whose data start at a multiple of 64 bytes, as in an arena or a weights file."""
    raw = np.zeros(array.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    out = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


@pytest.fixture(scope="session")
def link_objects() -> Callable[[Iterable[Path], Path], ctypes.CDLL]:
    """`link_objects(objects, output)` -> the loaded shared library."""
    return link
