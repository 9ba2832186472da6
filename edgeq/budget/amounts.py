"""Sizes, percentages and latencies as people write them, and as they are printed back."""

from __future__ import annotations

import re

from edgeq.errors import UsageError

BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_SIZE = re.compile(rf"{_NUMBER}\s*([a-z]*)")
_PERCENT = re.compile(rf"{_NUMBER}\s*%")
_LATENCY = re.compile(rf"{_NUMBER}\s*(us|µs|ms|s)(?:/(token|tok|run))?")
_RATE = re.compile(rf"{_NUMBER}\s*(?:tok|tokens)/s")


def parse_size(text: str) -> int:
    """Bytes of `"60MB"` (10^6), `"57.5MiB"` (2^20), `"800kB"`, `"60000000"`; raises UsageError."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or match[2] not in BYTES or not (size := int(float(match[1]) * BYTES[match[2]])):
        raise UsageError(f"--target-size {text!r} is no size; write 60MB, 57.5MiB, 1.2GB or bytes")
    return size


def parse_percent(text: str) -> float:
    """The share that `"2%"` is: 0.02; raises UsageError."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"--max-ppl-increase {text!r} is no percentage; write 2% or 0.5%")
    return float(match[1]) / 100


def parse_latency(text: str) -> float:
    """Seconds of `"5ms/token"`, `"800us"`, `"12ms/run"`, or of one token at `"200tok/s"`; raises UsageError."""
    plain = text.strip().lower()
    if match := _RATE.fullmatch(plain):
        seconds = 1 / float(match[1]) if float(match[1]) else 0.0
    else:
        match = _LATENCY.fullmatch(plain)
        seconds = float(match[1]) * SECONDS[match[2]] if match else 0.0
    if not seconds:
        raise UsageError(f"--target-latency {text!r} is no latency; write 5ms/token, 800us/run or 200tok/s")
    return seconds


def size_text(count: float) -> str:
    """`60.00 MB`: four digits, so that a percent shows."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= one:
            return f"{count / one:.2f} {unit}"
    return f"{count:.0f} B"


def percent_text(share: float) -> str:
    """`+2.13%`."""
    return f"{share:+.2%}"


def seconds_text(seconds: float) -> str:
    """`4.87 ms`."""
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} us"
