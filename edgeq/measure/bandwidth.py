"""DRAM read bandwidth of this machine, the ceiling that a decode step is measured against."""

from __future__ import annotations

import ctypes
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import UsageError
from edgeq.measure.machine import this_machine
from edgeq.measure.native import library

SOURCE = Path(__file__).with_name("bandwidth.c")
MIN_BYTES = 256 << 20
PASSES = 9


@dataclass(frozen=True)
class Bandwidth:
    """Read bandwidth with some number of threads.

    Attributes:
        bytes_per_s: median over the passes of the better way of reading.
        best_bytes_per_s: its best pass.
        threads: how many threads read.
        buffer_bytes: size of what was read, several times the last cache.
        prefetch: whether software prefetch was the better way.
    """

    bytes_per_s: float
    best_bytes_per_s: float
    threads: int
    buffer_bytes: int
    prefetch: bool


def buffer_bytes() -> int:
    """Four times the largest cache, at least MIN_BYTES: reads then come from memory."""
    return max(MIN_BYTES, 4 * this_machine().cache_bytes)


def read_bandwidth(threads: int, size: int | None = None, passes: int = PASSES) -> Bandwidth:
    """Measure reading `size` bytes (default `buffer_bytes()`) with `threads` threads, plainly and with prefetch.

    Takes about a second. Raises UsageError when memory or threads do not suffice, ToolchainError when the C does not
    compile.
    """
    size = size or buffer_bytes()
    return max((_measure(threads, size, passes, prefetch) for prefetch in (False, True)), key=lambda b: b.bytes_per_s)


def _measure(threads: int, size: int, passes: int, prefetch: bool) -> Bandwidth:
    seconds = (ctypes.c_double * passes)()
    read = _read_passes()(size, threads, passes, int(prefetch), seconds)
    if not read:
        raise UsageError(f"cannot measure bandwidth: no memory for {size} bytes or no {threads} threads")
    return Bandwidth(read / statistics.median(seconds), read / min(seconds), threads, read, prefetch)


def _read_passes() -> Callable[..., int]:
    function = library(SOURCE).edgeq_read_passes
    function.restype = ctypes.c_uint64
    function.argtypes = [ctypes.c_uint64, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_double)]
    return function
