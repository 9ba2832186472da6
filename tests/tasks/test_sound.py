"""WAV files as samples, and features as transformers' WhisperFeatureExtractor computes them."""

from __future__ import annotations

import struct
import wave

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from edgeq.errors import UsageError
from edgeq.tasks.mel import log_mel
from edgeq.tasks.sound import resampled, samples

RATE = 16000
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.float32)


def riff(form: int, bits: int, data: bytes, channels: int = 1, rate: int = RATE, before: bytes = b"") -> bytes:
    fmt = struct.pack("<HHIIHH", form, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    chunks = before + b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def encoded(bits: int) -> tuple[int, bytes]:
    if bits == 8:
        return 1, ((TONE * 127).round() + 128).astype(np.uint8).tobytes()
    if bits == 24:
        whole = (TONE * 2**23).astype("<i4")
        return 1, np.frombuffer(whole.tobytes(), np.uint8).reshape(-1, 4)[:, :3].tobytes()
    if bits == 64:
        return 3, TONE.astype("<f8").tobytes()
    return 1, (TONE * (2 ** (bits - 1) - 1)).astype(f"<i{bits // 8}").tobytes()


@pytest.mark.parametrize("bits", [8, 16, 24, 32, 64])
def test_encodings(tmp_path, bits):
    form, data = encoded(bits)
    path = tmp_path / "tone.wav"
    path.write_bytes(riff(form, bits, data))
    found = samples(path, RATE)
    assert found.dtype == np.float32
    assert np.abs(found - TONE).max() < 2 ** (2 - min(bits, 16))


def test_floats_extensible_and_odd_chunks(tmp_path):
    note = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # an odd size is padded
    path = tmp_path / "tone.wav"
    path.write_bytes(riff(3, 32, TONE.tobytes(), before=note))
    assert np.array_equal(samples(path, RATE), TONE)
    fmt = struct.pack("<HHIIHH", 0xFFFE, 1, RATE, RATE * 4, 4, 32) + struct.pack("<HHIH", 22, 32, 4, 3) + bytes(14)
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", TONE.nbytes) + TONE.tobytes()
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    assert np.array_equal(samples(path, RATE), TONE)


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([TONE, -TONE / 2], 1)
    with wave.open(str(tmp_path / "two.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((stereo * 32767).astype("<i2").tobytes())
    assert np.abs(samples(tmp_path / "two.wav", RATE) - TONE / 4).max() < 1e-4


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_other_rates_keep_the_sound(rate):
    other = (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.float32)
    found = resampled(other, rate, RATE)
    assert len(found) == RATE
    assert np.abs(found - TONE).max() < 1e-4


def test_bad_sounds_are_usage_errors(tmp_path):
    (tmp_path / "song.mp3").write_bytes(b"ID3" + bytes(100))
    (tmp_path / "cut.wav").write_bytes(riff(1, 16, b"")[:30])
    (tmp_path / "law.wav").write_bytes(riff(7, 8, bytes(100)))
    for name, message in {
        "song.mp3": "not a WAV",
        "cut.wav": "damaged",
        "law.wav": "encoding 7",
        "no.wav": "no such",
    }.items():
        with pytest.raises(UsageError, match=message):
            samples(tmp_path / name, RATE)
    with pytest.raises(UsageError, match="floats"):
        samples(np.zeros((2, 8), np.float32), RATE)


@pytest.mark.parametrize("length", [0.3, 2.0, 3.7])
@pytest.mark.parametrize("bins", [80, 128])
def test_features_are_whisper_s(length, bins):
    rng = np.random.default_rng(0)
    sound = (rng.normal(0, 0.1, int(length * RATE)) + np.sin(np.arange(int(length * RATE)) * 0.05)).astype(np.float32)
    theirs = WhisperFeatureExtractor(feature_size=bins, chunk_length=3)
    expected = theirs(sound, sampling_rate=RATE, return_tensors="np")["input_features"][0]
    found = log_mel(sound, bins, theirs.nb_max_frames, RATE, theirs.hop_length, theirs.n_fft, theirs.padding_value)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4


def test_silence_has_features():
    theirs = WhisperFeatureExtractor(chunk_length=1)
    expected = theirs(np.zeros(100, np.float32), sampling_rate=RATE, return_tensors="np")["input_features"][0]
    assert np.allclose(log_mel(np.zeros(100, np.float32), 80, 100, RATE, 160, 400, 0.0), expected, atol=1e-5)
