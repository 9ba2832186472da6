"""The key and value caches of one layer: what their bytes mean.

Keys `T[heads][context / 16][key_dim][16]`: sixteen positions lie side by side, one a lane, so that scores of sixteen
positions are one fused multiply-add a channel. Values `T[heads][context][value_dim]`. T is float32 (`f32`), float16
(`f16`) or int8 (`i8`); with `i8` every position of every head has a key scale and a value scale, `f32[heads][context]`:
scale = absmax / 127, code = round(x * (127 / absmax)). With `i4` and `i2` the caches are blocks of codes as int32
(`kv_blocks`), and in the place of scales stand the rings of the newest positions as float16: `KvCache.floats`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.errors import UnsupportedError
from edgeq.kernels.kv_blocks import BITS, KvBlocks, ring_length

_DTYPES = {"f32": "float32", "f16": "float16", "i8": "int8"}
BLOCK_TYPES = tuple(BITS)  # caches of codes by blocks, beside a ring of floats (`kv_blocks`)
TINY = 1e-30  # an absmax below this counts as this: a zero row has scale ~0 and codes 0
Index = Any  # an int or a TIR expression


@dataclass(frozen=True)
class KvCache:
    """Shape and element type of one layer's caches.

    `ring`: positions that the rings of `i4` and `i2` hold, 0 the whole context. Raises UnsupportedError when `kv` is
    unknown, or a dimension or the context is no multiple of 16, or the ring does not do.
    """

    heads: int
    key_dim: int
    value_dim: int
    kv: str
    context: int
    ring: int = 0

    def __post_init__(self) -> None:
        if self.kv not in (*_DTYPES, *BITS):
            raise UnsupportedError(f"no kernel for a KV cache of {self.kv!r}; known: {', '.join((*_DTYPES, *BITS))}")
        for what, size in (("head size", self.key_dim), ("value head size", self.value_dim), ("context", self.context)):
            if size <= 0 or size % 16:
                raise UnsupportedError(f"attention: {what} is {size}; edgeq's kernels need a multiple of 16")
        _ = self.blocks

    @property
    def blocks(self) -> KvBlocks | None:
        """The blocks of codes of `i4` and `i2`."""
        if self.kv not in BITS:
            return None
        ring = self.ring or ring_length(self.context, self.context)
        return KvBlocks(self.heads, self.key_dim, self.value_dim, self.kv, self.context, ring)

    @property
    def floats(self) -> KvCache:
        """Where positions are read as they are: these caches, or the rings beside blocks."""
        if self.blocks is None:
            return self
        return KvCache(self.heads, self.key_dim, self.value_dim, "f16", self.blocks.ring)

    @property
    def dtype(self) -> str:
        """Element type of both caches."""
        return "int32" if self.blocks else _DTYPES[self.kv]

    def pointers(self, written: bool) -> dict[str, str]:
        """Element types of kc, vc, ks, vs as kernels see them; float16 is written as bits (int16)."""
        half = "int16" if written else "float16"
        cache = half if self.dtype == "float16" else self.dtype
        beside = half if self.blocks else "float32"
        return {"kc": cache, "vc": cache, "ks": beside, "vs": beside}

    @property
    def bytes(self) -> dict[str, int]:
        """Size of each of kc, vc, ks, vs; 0 where there is none."""
        arrays = {"kc": (self.key_shape, self.dtype), "vc": (self.value_shape, self.dtype)}
        if self.blocks:
            arrays |= {"ks": (self.floats.key_shape, "float16"), "vs": (self.floats.value_shape, "float16")}
        elif self.quantized:
            arrays |= {name: (self.scale_shape, "float32") for name in ("ks", "vs")}
        sizes = {name: int(np.prod(shape)) * np.dtype(dtype).itemsize for name, (shape, dtype) in arrays.items()}
        return {"ks": 0, "vs": 0, **sizes}

    @property
    def quantized(self) -> bool:
        """True when positions carry scales."""
        return self.kv == "i8"

    @property
    def key_shape(self) -> tuple[int, ...]:
        """Shape of the key cache."""
        if self.blocks:
            return self.blocks.key_shape
        return (self.heads, self.context // 16, self.key_dim, 16)

    @property
    def value_shape(self) -> tuple[int, ...]:
        """Shape of the value cache."""
        if self.blocks:
            return self.blocks.value_shape
        return (self.heads, self.context, self.value_dim)

    @property
    def scale_shape(self) -> tuple[int, ...]:
        """Shape of each scale array (i8 only)."""
        return (self.heads, self.context)

    def key_at(self, head: Index, position: Index, channel: Index) -> Index:
        """Index of one element of the key cache."""
        return ((head * (self.context // 16) + (position >> 4)) * self.key_dim + channel) * 16 + (position & 15)

    def value_at(self, head: Index, position: Index, channel: Index) -> Index:
        """Index of one element of the value cache."""
        return (head * self.context + position) * self.value_dim + channel

    def scale_at(self, head: Index, position: Index) -> Index:
        """Index of a position's scale."""
        return head * self.context + position

    def keys(self, cache: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
        """Key cache as float64 [heads][context][key_dim]."""
        rows = cache.astype(np.float64).transpose(0, 1, 3, 2).reshape(self.heads, self.context, self.key_dim)
        return rows if scales is None else rows * scales[:, :, None]

    def values(self, cache: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
        """Value cache as float64 [heads][context][value_dim]."""
        rows = cache.astype(np.float64)
        return rows if scales is None else rows * scales[:, :, None]

    def store(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """What the kernels store for rows f32[..., dim]: codes of `dtype` and, for i8, scales f32[...]."""
        if not self.quantized:
            return rows.astype(self.dtype), None
        top = np.maximum(np.abs(rows).max(-1), np.float32(TINY)).astype(np.float32)
        codes = np.rint(rows * (np.float32(127) / top)[..., None]).astype(np.int8)
        return codes, top * np.float32(1 / 127)
