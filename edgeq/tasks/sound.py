"""Sound files as mono float samples at the rate a model takes. WAV only, read without other libraries."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from edgeq.errors import UsageError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def samples(sound: str | Path | np.ndarray, rate: int) -> np.ndarray:
    """f32[n] in -1..1 at `rate` samples a second: a WAV file (channels are averaged), or such samples themselves.

    Raises:
        UsageError: no such file, not WAV, damaged, an unknown encoding, or an array of more than one axis.
    """
    if isinstance(sound, np.ndarray):
        if sound.ndim != 1 or not np.issubdtype(sound.dtype, np.floating):
            raise UsageError(f"samples are floats [n] in -1..1, not {sound.dtype} {list(sound.shape)}")
        return sound.astype(np.float32)
    path = Path(sound)
    if not path.is_file():
        raise UsageError(f"{path}: no such file")
    found, given = read_wav(path)
    return resampled(found, given, rate)


def read_wav(path: Path) -> tuple[np.ndarray, int]:
    """Samples f32[n] and their rate; PCM of 8 to 32 bits and floats; raises UsageError for anything else."""
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise UsageError(f"{path}: not a WAV file; convert it first: ffmpeg -i {path.name} -ac 1 -ar 16000 sound.wav")
    chunks = _chunks(data)
    if len(chunks.get(b"fmt ", b"")) < 16 or b"data" not in chunks:
        raise UsageError(f"{path}: a damaged WAV file: it has no format or no samples")
    form, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    if form == EXTENSIBLE and len(chunks[b"fmt "]) >= 26:
        form = struct.unpack_from("<H", chunks[b"fmt "], 24)[0]
    values = _values(chunks[b"data"], form, bits)
    if values is None or not channels or not rate:
        raise UsageError(f"{path}: WAV of encoding {form} with {bits} bits is not read; convert it to 16-bit PCM")
    whole = len(values) // channels * channels
    return values[:whole].reshape(-1, channels).mean(1, dtype=np.float32), rate


def _chunks(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        found.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return found


def _values(data: bytes, form: int, bits: int) -> np.ndarray | None:
    """Interleaved samples in -1..1; None for an encoding that is not known."""
    whole = data[: len(data) // (bits // 8 or 1) * (bits // 8 or 1)]
    if form == FLOAT and bits in (32, 64):
        return np.frombuffer(whole, f"<f{bits // 8}").astype(np.float32)
    if form != PCM or bits not in (8, 16, 24, 32):
        return None
    if bits == 8:
        return (np.frombuffer(whole, np.uint8).astype(np.float32) - 128) / 128
    if bits == 24:
        low, middle, high = np.frombuffer(whole, np.uint8).reshape(-1, 3).astype(np.int32).T
        return ((high.astype(np.int8).astype(np.int32) << 16 | middle << 8 | low) / 2**23).astype(np.float32)
    return (np.frombuffer(whole, f"<i{bits // 8}") / 2 ** (bits - 1)).astype(np.float32)


def resampled(values: np.ndarray, given: int, wanted: int) -> np.ndarray:
    """The same sound at another rate: its spectrum is cut, or continued with zeros."""
    if given == wanted or not len(values):
        return values
    count = round(len(values) * wanted / given)
    spectrum = np.fft.rfft(values)[: count // 2 + 1]
    return np.asarray(np.fft.irfft(spectrum, count) * (count / len(values)), np.float32)
