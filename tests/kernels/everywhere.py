"""Run a kernel on every ISA of a library and demand equal bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeq.kernels.kernel import Kernel


def everywhere(
    lib: Any, kernel: Kernel, ranges: Sequence[tuple[int, int]], *, rows: dict[str, int] | None = None,
    **given: int | np.ndarray | None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Call `kernel` over `ranges` on copies of the given arrays (by parameter name); all arrays after the calls.

    Asserts that every ISA leaves the same bytes, and that 64 bytes around each array stay as they were. `rows`: how
    many rows of an array mean something; the others are neither compared nor returned.
    """
    runs = [_run(lib, isa, kernel, ranges, given) for isa in lib.isas]
    for run in runs:
        run.update({name: run[name][:count] for name, count in (rows or {}).items()})
    for isa, run in zip(lib.isas, runs, strict=True):
        for name, array in run.items():
            assert array.tobytes() == runs[0][name].tobytes(), f"{kernel.name}: {name} differs on {isa.name}"
    return runs[0]


def aligned(array: np.ndarray) -> np.ndarray:
    """A 64-byte aligned copy."""
    return _guarded(array)[0]


def _run(
    lib: Any, isa: Any, kernel: Kernel, ranges: Sequence[tuple[int, int]], given: dict[str, Any]
) -> dict[str, np.ndarray]:
    guarded = {n: _guarded(a) for n, a in given.items() if isinstance(a, np.ndarray)}
    args = [guarded[p.name][0] if p.name in guarded else given[p.name] for p in kernel.params]
    for lo, hi in ranges:
        lib(isa, kernel, lo, hi, *args)
    for name, (array, raw) in guarded.items():
        start = array.ctypes.data - raw.ctypes.data
        around = np.concatenate([raw[start - 64 : start], raw[start + array.nbytes : start + array.nbytes + 64]])
        assert (around == 0xA5).all(), f"{kernel.name} wrote outside {name} on {isa.name}"
    return {n: a for n, (a, _) in guarded.items() if _access(kernel, n) != "scratch"}


def _access(kernel: Kernel, name: str) -> str:
    return next(p.access for p in kernel.params if p.name == name)


def _guarded(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A 64-byte aligned copy with a pattern around it, and the memory it lies in."""
    raw = np.full(array.nbytes + 256, 0xA5, np.uint8)
    start = 64 + -raw.ctypes.data % 64
    view = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view, raw
