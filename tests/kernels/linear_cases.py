"""Seeded operands of the linear kernels and the layouts that their chunk variants read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from everywhere import aligned

from edgeq.kernels.quantize import corrections
from edgeq.quant.format import WeightFormat
from edgeq.quant.pack import pack
from edgeq.quant.values import dequantized

BLOCK = 16  # chunk buffers hold whole blocks of 16 rows


@dataclass
class Case:
    """Operands of one linear: a packed weight, m activation rows, and everything an epilogue may read."""

    fmt: WeightFormat
    weights: tuple[np.ndarray, np.ndarray | None, np.ndarray | None]
    packed: np.ndarray
    x: np.ndarray  # f32[m, K]
    q: np.ndarray  # i8[m, K]
    sa: np.ndarray  # f32[m]
    bias: np.ndarray  # f32[N padded]
    r: np.ndarray  # f32[M, N padded]

    @property
    def shape(self) -> tuple[int, int, int]:
        """m, N padded to 16, K."""
        return len(self.x), len(self.bias), self.x.shape[1]

    @property
    def corr(self) -> np.ndarray:
        """i32[m, KG]."""
        return corrections(self.q, self.fmt.group_size, self.fmt.zero_point or 1)

    def dequantized(self) -> np.ndarray:
        """f64[N, K]."""
        codes, scale, _ = self.weights
        if scale is None:
            return codes.astype(np.float64)
        values = dequantized(*(None if t is None else torch.from_numpy(t) for t in self.weights), self.fmt)
        return values.numpy().astype(np.float64)


def make(rng: np.random.Generator, text: str, N: int, K: int, m: int, extreme: bool = False) -> Case:
    """Random operands; `extreme`: only the smallest and largest codes, where sums could overflow."""
    fmt, KG, M, padded = WeightFormat.parse(text), 0, -(-m // BLOCK) * BLOCK, -(-N // 16) * 16
    scale = zero = None
    if fmt.is_float:
        codes = rng.standard_normal((N, K)).astype(f"f{fmt.bits // 8}")
    else:
        KG, top = fmt.groups(K) * fmt.meaning.numbers, fmt.codes - 1
        codes = (rng.integers(0, 2, (N, K)) * top if extreme else rng.integers(0, top + 1, (N, K))).astype(np.uint8)
        if fmt.kind in ("e4m3", "e5m2"):
            codes &= 0xFB if fmt.kind == "e5m2" else 0xFE  # neither NaN nor infinity
        scale = (rng.random((N, KG)) * 0.01 + 1e-4).astype(np.float16)
        if fmt.meaning.scale_bytes == 1:
            scale = np.ldexp(1.0, rng.integers(-12, -5, (N, KG))).astype(np.float16)
        zero = None if fmt.symmetric else rng.integers(0, top + 1, (N, KG)).astype(np.uint8)
        if fmt.has_offsets:
            zero = (rng.standard_normal((N, KG)) * 0.05).astype(np.float16)
    q = rng.choice([-127, 127], (m, K)) if extreme else rng.integers(-127, 128, (m, K))
    if m > 2:
        q[1] = 0
    x = np.zeros((M, K), np.float32)
    x[:m] = rng.standard_normal((m, K))
    live = np.arange(padded) < N  # pad lanes of bias and residual are zeros, so that those of the output are
    return Case(
        fmt, (codes, scale, zero), aligned(pack(codes, scale, zero, fmt)), x[:m], q.astype(np.int8),
        rng.random(m).astype(np.float32), (rng.standard_normal(padded) * live).astype(np.float32),
        (rng.standard_normal((M, padded)) * live).astype(np.float32),
    )  # fmt: skip


def panels(rows: np.ndarray, per_block: int, width: int) -> np.ndarray:
    """[m, X] -> [M / R][X / width][R][width], missing rows zero, M a multiple of 16."""
    whole = np.zeros((-(-len(rows) // BLOCK) * BLOCK, rows.shape[1]), rows.dtype)
    whole[: len(rows)] = rows
    blocked = whole.reshape(len(whole) // per_block, per_block, -1, width).transpose(0, 2, 1, 3)
    return aligned(np.ascontiguousarray(blocked))


def padded_rows(rows: np.ndarray) -> np.ndarray:
    """[m, ...] -> [M, ...] with zero rows, M a multiple of 16."""
    whole = np.zeros((-(-len(rows) // BLOCK) * BLOCK, *rows.shape[1:]), rows.dtype)
    whole[: len(rows)] = rows
    return aligned(whole)
