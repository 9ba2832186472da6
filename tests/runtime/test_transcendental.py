"""The runtime's logarithms, powers and circular functions: against float64, and equal bits on arm64."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from guest import Guest, link_guest
from qemu import available

from edgeq.lower.toolchain import CFLAGS, RUNTIME, cc

NAMES = ("log", "log2", "log10", "sin", "cos", "tan", "pow")
LOOPS = "".join(
    f"void {n}(int lo, int hi, const float *x, const float *y, float *o)"
    f" {{ for (int i = lo; i < hi; i++) o[i] = edgeq_{n}(x[i]{', y[i]' if n == 'pow' else ''}); }}\n"
    for n in NAMES
)
SPECIAL = [
    0,
    -0.0,
    1,
    -1,
    np.inf,
    -np.inf,
    np.nan,
    1e-45,
    -1e-45,
    3.4e38,
    -3.4e38,
    2,
    3,
    -3,
    0.5,
    -0.5,
    2**24,
    -(2**24) - 2,
]


class Functions:
    """`functions(name, x, y)` on arrays, here or emulated."""

    def __init__(self, folder: Path):
        source = folder / "loops.c"
        source.write_text(f'#include "transcendental.h"\n#pragma GCC visibility push(default)\n{LOOPS}')
        self.here = folder / "loops.so"
        files = [str(source), str(RUNTIME / "transcendental.c")]
        cc("x86_64-linux-gnu.2.28", [*CFLAGS, f"-I{RUNTIME}", "-shared", *files, "-o", str(self.here)], "loops")
        cc("aarch64-linux-musl", [*CFLAGS, f"-I{RUNTIME}", "-c", files[0], "-o", str(folder / "loops.o")], "loops")
        self.library = ctypes.CDLL(str(self.here))
        self.guest = Guest(link_guest([folder / "loops.o"], NAMES, folder / "guest"), NAMES, "cortex-a72")

    def __call__(self, name: str, x: np.ndarray, y: np.ndarray, emulated: bool = False) -> np.ndarray:
        o = np.zeros_like(x)
        if emulated:
            self.guest.call(name, [0, len(x), x, y, o])
        else:
            self.library[name](0, len(x), *(a.ctypes.data_as(ctypes.c_void_p) for a in (x, y, o)))
        return o


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Functions:
    return Functions(tmp_path_factory.mktemp("functions"))


def arguments(name: str) -> tuple[np.ndarray, np.ndarray]:
    """All special pairs; floats of every exponent; small ones, near 1 and near multiples of pi / 2."""
    rng = np.random.default_rng(3)
    pairs = np.array(np.meshgrid(SPECIAL, SPECIAL), np.float32).reshape(2, -1)
    every = rng.integers(0, 2**32, 40_000, np.uint32).view(np.float32)
    every = every[~np.isnan(every)][:39_000]
    near = np.concatenate([rng.normal(size=20_000), 1 + rng.normal(size=5000) * 1e-3, np.arange(5000) * np.pi / 2])
    x = np.concatenate([pairs[0], every, near]).astype(np.float32)
    y = np.concatenate([pairs[1], rng.normal(size=39_000), rng.integers(-9, 9, 30_000)]).astype(np.float32)
    return x, y


@pytest.mark.parametrize("name", NAMES)
def test_within_a_hair_of_correct_rounding(functions: Functions, name: str) -> None:
    x, y = arguments(name)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), y) if name == "pow" else getattr(np, name)(x.astype(np.float64))
        rounded, got = exact.astype(np.float32), functions(name, x, y)
        usual = np.isfinite(rounded) & (rounded != 0)
        assert np.array_equal(got[~usual], rounded[~usual], equal_nan=True)
        assert np.array_equal(np.signbit(got[got == 0]), np.signbit(rounded[got == 0]))
        places = np.abs(got[usual] - exact[usual]) / np.spacing(np.abs(rounded[usual]))
    assert places.max() <= 0.501


@pytest.mark.skipif(not available(), reason="no qemu-aarch64: run .ci/install-qemu")
@pytest.mark.parametrize("name", NAMES)
def test_equal_bits_on_arm64(functions: Functions, name: str) -> None:
    x, y = arguments(name)
    assert functions(name, x, y).tobytes() == functions(name, x, y, emulated=True).tobytes()
