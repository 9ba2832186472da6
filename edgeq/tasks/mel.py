"""Log-mel features as transformers' WhisperFeatureExtractor computes them, in numpy."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

TOP = 8000.0  # Hz; Whisper's filters end there
LINEAR, STEP = 1000.0, np.log(6.4) / 27.0  # Slaney's scale is linear up to 1000 Hz, then logarithmic
LINEAR_MEL = 15.0


def log_mel(samples: np.ndarray, bins: int, frames: int, rate: int, hop: int, width: int, padding: float) -> np.ndarray:
    """f32[bins, frames] of samples f32[n], which are cut or padded to `frames * hop`.

    Args:
        samples: -1..1 at `rate`. bins: mel filters. hop, width: samples between frames, and of a window.
        padding: value behind the samples.
    """
    whole = np.full(frames * hop, padding, np.float32)
    whole[: len(samples)] = samples[: len(whole)]
    spectrum = _power(whole, hop, width)[:, :frames]
    log = np.log10(np.maximum(filters(bins, width // 2 + 1, rate).T @ spectrum, 1e-10))
    return np.asarray((np.maximum(log, log.max() - 8.0) + 4.0) / 4.0, np.float32)


def _power(samples: np.ndarray, hop: int, width: int) -> np.ndarray:
    """|STFT|^2, f64[width // 2 + 1, frames], frames centred, edges reflected, periodic Hann window."""
    padded = np.pad(samples.astype(np.float64), width // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)
    return np.asarray(np.abs(np.fft.rfft(windows * hann, axis=1)) ** 2).T


@lru_cache(maxsize=4)
def filters(bins: int, frequencies: int, rate: int) -> np.ndarray:
    """Triangular mel filters of equal area (Slaney), f64[frequencies, bins]."""
    edges = _hertz(np.linspace(0.0, _mel(TOP), bins + 2))
    hertz = np.linspace(0, rate // 2, frequencies)[:, None]
    rising = (hertz - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - hertz) / np.diff(edges)[1:]
    return np.asarray(np.maximum(0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2])))


def _mel(hertz: float) -> float:
    return 3.0 * hertz / 200.0 if hertz < LINEAR else LINEAR_MEL + float(np.log(hertz / LINEAR)) / STEP


def _hertz(mels: np.ndarray) -> np.ndarray:
    return np.where(mels < LINEAR_MEL, 200.0 * mels / 3.0, LINEAR * np.exp(STEP * (mels - LINEAR_MEL)))
