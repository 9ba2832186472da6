"""What a cache of 4 or 2 bits gives back: codes by blocks of 32 positions, the newest positions in float16.

Keys have a scale and a minimum a channel and block, values a scale and a minimum a position and group of 32
channels (16 where 32 do not divide the head). A query reads its own block and the `WINDOW - 1` before it in float16,
older blocks as codes. Products with codes take queries and probabilities in 8 bits, the codes' scales folded in before
they are rounded, a step for every block (KIVI's layout, HACK's products; docs/kv-cache.md).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK, WINDOW = 32, 4
BITS = {"i4": 4, "i2": 2}
_TINY = 1e-30
Weigh = Callable[[Tensor, Tensor], Tensor]  # scores [B,H,R,L], positions of the rows [R] -> probabilities


def quantized(lines: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Lines `[..., n]` -> codes `[..., n]`, scale and minimum `[..., 1]`, both as float16 holds them."""
    low, high = lines.amin(-1, keepdim=True), lines.amax(-1, keepdim=True)
    top = (1 << bits) - 1
    scale = ((high - low) * (1 / top)).half().to(lines.dtype)
    codes = torch.round(((lines - low) / scale.clamp(min=_TINY)).clamp(max=top))
    return codes, scale, low.half().to(lines.dtype)


def attend_blocks(q: Tensor, k: Tensor, v: Tensor, query: Tensor, bits: int, weigh: Weigh) -> Tensor:
    """Scaled q `[B,H,S,D]` at positions `query` `[S]` over k `[B,G,L,D]`, v `[B,G,L,Dv]` of float16 -> `[B,H,S,Dv]`."""
    parts = []
    for block in torch.unique(query // BLOCK).tolist():
        here = query // BLOCK == block
        parts.append(_rows(q[:, :, here], k, v, query[here], bits, weigh))
    return torch.cat(parts, 2)


def _rows(q: Tensor, k: Tensor, v: Tensor, query: Tensor, bits: int, weigh: Weigh) -> Tensor:
    """Rows of one block of positions."""
    coded, end = BLOCK * max(0, int(query[0]) // BLOCK - (WINDOW - 1)), int(query[-1]) + 1
    grouped = q.unflatten(1, (k.shape[1], -1))  # [B, G, n, R, D]
    codes = k[:, :, :coded].unflatten(2, (-1, BLOCK)), v[:, :, :coded].unflatten(2, (-1, BLOCK))
    scores = _code_scores(grouped, codes[0], bits).flatten(-2)
    recent = grouped @ k[:, :, None, coded:end].transpose(-1, -2)
    p = weigh(torch.cat([scores, recent], -1).flatten(1, 2), query).unflatten(1, (k.shape[1], -1))
    old = _code_values(p[..., :coded].unflatten(-1, (-1, BLOCK)), codes[1], bits)
    return (old + p[..., coded:] @ v[:, :, None, coded:end]).flatten(1, 2)


def _code_scores(q: Tensor, keys: Tensor, bits: int) -> Tensor:
    """q `[B,G,n,R,D]`, keys `[B,G,K,32,D]` -> `[B,G,n,R,K,32]`."""
    codes, scale, low = quantized(keys.transpose(-1, -2), bits)
    scaled = q[..., None, :] * scale[:, :, None, None, :, :, 0]
    step = scaled.abs().amax(-1, keepdim=True).clamp(min=_TINY) / 127
    products = torch.einsum("bgnrkd,bgkdp->bgnrkp", torch.round(scaled / step) * step, codes)
    return products + torch.einsum("bgnrd,bgkd->bgnrk", q, low[..., 0])[..., None]


def _code_values(p: Tensor, values: Tensor, bits: int) -> Tensor:
    """p `[B,G,n,R,K,32]`, values `[B,G,K,32,Dv]` -> `[B,G,n,R,Dv]`."""
    size = BLOCK if values.shape[-1] % BLOCK == 0 else BLOCK // 2
    codes, scale, low = quantized(values.unflatten(-1, (-1, size)), bits)  # [B, G, K, 32, groups, size]
    scaled = torch.einsum("bgnrkp,bgkpc->bgnrkcp", p, scale[..., 0])
    step = scaled.amax(-1, keepdim=True).clamp(min=_TINY) / 255
    rounded = torch.round(scaled / step) * step
    products = torch.einsum("bgnrkcp,bgkpcd->bgnrcd", rounded, codes)
    left = (scaled - rounded).sum((-1, -3)) * (1 << (bits - 1))
    return (products + (torch.einsum("bgnrkp,bgkpc->bgnrc", p, low[..., 0]) + left)[..., None]).flatten(-2)
