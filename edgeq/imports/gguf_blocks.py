"""GGUF's quantized blocks as codes and numbers a group (the layouts of ggml-common.h)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from edgeq.imports.held import Held
from edgeq.quant.format import WeightFormat

Bytes = NDArray[Any]  # uint8
SUPER = 256  # weights of a block of the K and TQ types


class Blocks(NamedTuple):
    """codes u8 `[B, L]`; scale, offset f32 `[B, groups]` (offset None: there is none)."""

    codes: Bytes
    scale: NDArray[np.float32]
    offset: NDArray[np.float32] | None = None


class Type(NamedTuple):
    """How one GGUF type is read: weights of a group, format of ours, reader of `[B, bytes]`."""

    fmt: str
    group: int
    read: Callable[[Bytes], Blocks]


def _half(raw: Bytes) -> NDArray[np.float32]:
    return np.ascontiguousarray(raw).view(np.float16).astype(np.float32)


def _nibbles(raw: Bytes) -> Bytes:
    """Low nibbles are the first half of a block, high ones its second."""
    return np.concatenate([raw & 15, raw >> 4], axis=1)


def _fifth(raw: Bytes) -> Bytes:
    """The fifth bits of 32 codes, four bytes."""
    return np.unpackbits(np.ascontiguousarray(raw), axis=1, bitorder="little") << 4


def _q4_0(b: Bytes) -> Blocks:
    return Blocks(_nibbles(b[:, 2:]), _half(b[:, :2]))


def _q4_1(b: Bytes) -> Blocks:
    return Blocks(_nibbles(b[:, 4:]), _half(b[:, :2]), -_half(b[:, 2:4]))


def _q5_0(b: Bytes) -> Blocks:
    return Blocks((_nibbles(b[:, 6:]) | _fifth(b[:, 2:6])) + np.uint8(112), _half(b[:, :2]))  # middle 16 -> 128


def _q5_1(b: Bytes) -> Blocks:
    return Blocks(_nibbles(b[:, 8:]) | _fifth(b[:, 4:8]), _half(b[:, :2]), -_half(b[:, 2:4]))


def _q8_0(b: Bytes) -> Blocks:
    return Blocks(b[:, 2:] ^ np.uint8(128), _half(b[:, :2]))


def _six_bits(packed: Bytes) -> tuple[Bytes, Bytes]:
    """Eight scales and eight minima of 6 bits from 12 bytes."""
    d, m, high = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([d & 63, (high & 15) | ((d >> 2) & 48)], axis=1)
    return scales, np.concatenate([m & 63, (high >> 4) | ((m >> 2) & 48)], axis=1)


def _numbers(b: Bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    scales, minima = _six_bits(b[:, 4:16])
    return _half(b[:, :2]) * scales, _half(b[:, 2:4]) * minima


def _runs(raw: Bytes) -> Bytes:
    """Runs of 32 bytes: 32 low nibbles, then 32 high ones."""
    runs = raw.reshape(len(raw), -1, 1, 32)
    return np.concatenate([runs & 15, runs >> 4], axis=2).reshape(len(raw), -1)


def _q4_k(b: Bytes) -> Blocks:
    return Blocks(_runs(b[:, 16:]), *_numbers(b))


def _q5_k(b: Bytes) -> Blocks:
    high = (b[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[:, None]) & 1
    return Blocks(_runs(b[:, 48:]) | high.reshape(len(b), SUPER) << 4, *_numbers(b))


def _fields(raw: Bytes, run: int) -> Bytes:
    """Four fields of two bits, lowest first: a run of `run` bytes holds four runs of codes."""
    runs = raw.reshape(len(raw), -1, 1, run) >> np.array([0, 2, 4, 6], np.uint8)[:, None]
    return (runs & 3).reshape(len(raw), -1)


def _q2_k(b: Bytes) -> Blocks:
    scale = _half(b[:, 80:82]) * (b[:, :16] & 15)
    return Blocks(_fields(b[:, 16:80], 32), scale, _half(b[:, 82:84]) * (b[:, :16] >> 4))


def _q3_k(b: Bytes) -> Blocks:
    high = (b[:, None, :32] >> np.arange(8, dtype=np.uint8)[:, None]) & 1
    codes = _fields(b[:, 32:96], 32) | high.reshape(len(b), SUPER) << 2
    low = np.concatenate([b[:, 96:104] & 15, b[:, 96:104] >> 4], axis=1)
    top = (b[:, None, 104:108] >> np.array([0, 2, 4, 6], np.uint8)[:, None]) & 3
    return Blocks(codes, _half(b[:, 108:110]) * ((low | top.reshape(len(b), 16) << 4).astype(np.float32) - 32))


def _q6_k(b: Bytes) -> Blocks:
    low = b[:, :128].reshape(len(b), -1, 1, 64) >> np.array([0, 4], np.uint8)[:, None]
    codes = (low & 15).reshape(len(b), SUPER) | _fields(b[:, 128:192], 32) << 4
    return Blocks(codes + np.uint8(96), _half(b[:, 208:210]) * b[:, 192:208].view(np.int8))  # middle 32 -> 128


def _digits(raw: Bytes, run: int, count: int) -> Bytes:
    """`count` ternary digits a byte, a byte being ceil(256 n / 243): runs of `run` bytes, a run of digits each."""
    powers = np.array([1, 3, 9, 27, 81][:count], np.uint8)[:, None]
    shifted = raw.reshape(len(raw), -1, 1, run) * powers
    return ((shifted.astype(np.uint16) * 3) >> 8).astype(np.uint8).reshape(len(raw), -1)


def _tq1_0(b: Bytes) -> Blocks:
    codes = [_digits(b[:, :32], 32, 5), _digits(b[:, 32:48], 16, 5), _digits(b[:, 48:52], 4, 4)]
    return Blocks(np.concatenate(codes, axis=1), _half(b[:, 52:54]))


def _tq2_0(b: Bytes) -> Blocks:
    return Blocks(_fields(b[:, :64], 32), _half(b[:, 64:66]))


def _mxfp4(b: Bytes) -> Blocks:
    return Blocks(_nibbles(b[:, 1:]), np.ldexp(np.float32(0.5), b[:, :1].astype(np.int32) - 127))


TYPES: dict[str, Type] = {
    "Q4_0": Type("w4g32", 32, _q4_0),
    "Q4_1": Type("w4g32m", 32, _q4_1),
    "Q5_0": Type("w8g32", 32, _q5_0),
    "Q5_1": Type("w8g32m", 32, _q5_1),
    "Q8_0": Type("w8g32", 32, _q8_0),
    "Q2_K": Type("w2g16m", 16, _q2_k),
    "Q3_K": Type("w3g16", 16, _q3_k),
    "Q4_K": Type("w4g32m", 32, _q4_k),
    "Q5_K": Type("w8g32m", 32, _q5_k),
    "Q6_K": Type("w8g16", 16, _q6_k),
    "TQ1_0": Type("t1.6g256", 256, _tq1_0),
    "TQ2_0": Type("t2g256", 256, _tq2_0),
    "MXFP4": Type("mxfp4", 32, _mxfp4),
}


def held(kind: str, raw: Bytes, rows: int) -> Held:
    """The tensor of a known type from its bytes."""
    import gguf

    known = TYPES[kind]
    fmt = WeightFormat.parse(known.fmt)
    block_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][1]
    blocks = known.read(raw.reshape(-1, block_bytes))
    offset = None if blocks.offset is None else torch.from_numpy(blocks.offset.reshape(rows, -1))
    codes = torch.from_numpy(np.ascontiguousarray(blocks.codes)).reshape(rows, -1)
    return Held(codes, torch.from_numpy(blocks.scale.reshape(rows, -1).astype(np.float32)), offset, fmt)
