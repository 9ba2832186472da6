"""Attention over blocks of codes and a float ring in numpy: what `attention.decode` and `chunk` compute of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edgeq.kernels.kv_blocks import BLOCK, TINY, WINDOW, KvBlocks, unpack_keys, unpack_values
from edgeq.kernels.kv_cache import KvCache
from edgeq.kernels.transcendental import LOG2E

_NEAR = 3e-3  # a weight this close to half way between two codes may be rounded to either


class Result(NamedTuple):
    """Outputs [m][H][Dv] float64, and by how much weights that lie half way between two codes may move each."""

    out: np.ndarray
    slack: np.ndarray


class Caches:
    """Key and value blocks decoded, and the rings as rows: of every position what a query may read."""

    def __init__(self, cache: KvCache, kc: np.ndarray, vc: np.ndarray, ks: np.ndarray, vs: np.ndarray):
        assert cache.blocks is not None
        self.blocks: KvBlocks = cache.blocks
        self.keys, self.values = unpack_keys(self.blocks, kc), unpack_values(self.blocks, vc)
        self.key_ring, self.value_ring = cache.floats.keys(ks, None), cache.floats.values(vs, None)

    def attend(
        self, q: np.ndarray, pos: int, left: int = -1, softcap: float = 0.0, bias: np.ndarray | None = None
    ) -> Result:
        """Rows q f32[m][H][D] at pos.., scaled to base-2 scores; bias [H][context] by distance, in natural units."""
        out = np.zeros((*q.shape[:2], self.blocks.value_dim))
        slack = np.zeros_like(out)
        for i, h in np.ndindex(*q.shape[:2]):
            first = max(0, pos + i - left) if left >= 0 else 0
            g = h // (q.shape[1] // self.blocks.heads)
            row = None if bias is None else bias[h]
            out[i, h], slack[i, h] = self._row(q[i, h], g, pos + i, first, softcap, row)
        return Result(out, slack)

    def _row(
        self, q: np.ndarray, g: int, pos: int, first: int, softcap: float, bias: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        coded = max(0, pos // BLOCK - (WINDOW - 1))
        recent = np.arange(coded * BLOCK, pos + 1) % self.blocks.ring
        scores = np.concatenate([self._code_scores(q, g, coded), self.key_ring[g, recent] @ q.astype(np.float64)])
        scores /= LOG2E
        scores = softcap * np.tanh(scores / softcap) if softcap else scores
        scores = scores if bias is None else scores + bias[pos - np.arange(pos + 1)]
        scores[:first] = -np.inf
        p = np.exp(scores - scores.max())
        out, slack = self._code_values(p[: coded * BLOCK].reshape(coded, BLOCK), g)
        return (out + p[coded * BLOCK :] @ self.value_ring[g, recent]) / p.sum(), slack / p.sum()

    def _code_scores(self, q: np.ndarray, g: int, coded: int) -> np.ndarray:
        """Base-2 scores of whole blocks 0..coded-1; the query's codes are the kernels'."""
        codes, scale, low = (x[g, :coded] for x in self.keys)
        scaled = q.astype(np.float32) * scale
        peak = np.maximum(np.abs(scaled).max(-1, keepdims=True), np.float32(TINY))
        query = np.rint(scaled.astype(np.float64) * (np.float32(127) / peak)) * (peak.astype(np.float64) / 127)
        return (np.einsum("bd,bpd->bp", query, codes) + (low.astype(np.float64) @ q)[:, None]).ravel()

    def _code_values(self, p: np.ndarray, g: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights [blocks][32] times values of codes."""
        codes, scale, low = (x[g, : len(p)].astype(np.float64) for x in self.values)
        scaled = p[:, None] * scale
        peak = np.maximum(scaled.max(-1, keepdims=True), TINY)
        exact = scaled * (255 / peak)
        rounded = np.rint(exact) * (peak / 255)
        rest = (p[:, None] * low + self.blocks.middle * (scaled - rounded)).sum((0, 2))
        split = codes.reshape(*codes.shape[:2], self.blocks.groups, self.blocks.group)
        out = np.einsum("bgp,bpgc->gc", rounded, split) + rest[:, None]
        near = (np.abs(exact - np.floor(exact) - 0.5) < _NEAR) * (peak / 255)
        slack = np.einsum("bgp,bpgc->gc", near, np.abs(split - self.blocks.middle))
        return out.ravel(), slack.ravel()
