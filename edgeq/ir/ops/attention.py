"""Attention over whole sequences, and over a cache that it writes."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.errors import VerifyError
from edgeq.ir.ops.coded import coded_product
from edgeq.ir.ops.kv_blocks import BITS, attend_blocks
from edgeq.ir.ops.library import composite, opaque

CROSS_CACHE_TYPES = ("f32", "f16", "i8")  # of an encoder's keys, which all come at once
CACHE_TYPES = (*CROSS_CACHE_TYPES, *BITS)


def visible(query: Tensor, keys: int, *, causal: bool, left: int, right: int) -> Tensor:
    """Bool `[S, keys]`: which key positions each query position (`[S]`) sees; left/right -1 mean all."""
    distance = query[:, None] - torch.arange(keys, device=query.device)[None]
    seen = distance >= 0 if causal else torch.ones_like(distance, dtype=torch.bool)
    if left >= 0:
        seen = seen & (distance <= left)
    if right >= 0:
        seen = seen & (-distance <= right)
    return seen


def by_distance(bias: Tensor, query: Tensor, keys: int) -> Tensor:
    """bias `[H, N]` by how far a key lies back -> `[1, H, S, keys]` for queries at positions `query` `[S]`.

    What lies ahead, which causal attention does not see, gets the bias of distance 0.
    """
    distance = query[:, None] - torch.arange(keys, device=query.device)[None]
    return bias[:, distance.clamp(min=0)][None]


def attend(
    q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, bias: Tensor | None, sinks: Tensor | None,
    scale: float, softcap: float,
) -> Tensor:
    """Softmax attention: q `[B,H,S,D]`, k `[B,G,L,D]`, v `[B,G,L,Dv]`; seen and bias broadcast to `[B,H,S,L]`."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    return weights(q @ k.transpose(-1, -2) * scale, seen, bias, sinks, softcap) @ v


def weights(
    scores: Tensor, seen: Tensor | None, bias: Tensor | None, sinks: Tensor | None, softcap: float,
    grid: Tensor | None = None,
) -> Tensor:
    """Scores `[B,H,S,L]` -> what each key counts for; sinks take their part of it."""
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias
    if grid is not None:
        scores = scores + grid
    if seen is not None:
        scores = scores.masked_fill(~seen, torch.finfo(scores.dtype).min)
    if sinks is None:
        return torch.softmax(scores, -1)
    sink = sinks.view(1, -1, 1, 1).expand(scores.shape[0], -1, scores.shape[2], 1)
    return torch.softmax(torch.cat([scores, sink], -1), -1)[..., :-1]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """`[B, S, heads*D]` -> `[B, heads, S, D]`."""
    return x.unflatten(-1, (heads, x.shape[-1] // heads)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """`[B, heads, S, D]` -> `[B, S, heads*D]`."""
    return x.transpose(1, 2).flatten(-2)


@composite(
    "attention(Tensor q, Tensor k, Tensor v, Tensor? pad=None, Tensor? bias=None, Tensor? sinks=None, "
    "Tensor? row_bias=None, Tensor? column_bias=None, Tensor? distance_bias=None, Tensor? probs_scale=None, "
    "*, int heads, int kv_heads, float scale, bool causal, int left=-1, int right=-1, float softcap=0., "
    "str probs='') -> Tensor"
)
def attention(
    q: Tensor, k: Tensor, v: Tensor, pad: Tensor | None = None, bias: Tensor | None = None, sinks: Tensor | None = None,
    row_bias: Tensor | None = None, column_bias: Tensor | None = None, distance_bias: Tensor | None = None,
    probs_scale: Tensor | None = None, *, heads: int, kv_heads: int, scale: float, causal: bool, left: int = -1,
    right: int = -1, softcap: float = 0.0, probs: str = "",
) -> Tensor:
    """q `[B,S,heads*D]`, k `[B,L,kv_heads*D]`, v `[B,L,kv_heads*Dv]` -> `[B,S,heads*Dv]`.

    The last query stands at the last key's position. pad `[B, L]`: nonzero where a key is real; bias broadcasts to
    `[B,heads,S,L]`; sinks `[heads]`; keys on a grid of KH x KW cells take row_bias `[B,heads,S,KH]` of their row and
    column_bias `[B,heads,S,KW]` of their column (decomposed relative positions); causal attention takes distance_bias
    `[heads, N]`, N >= L, by how far a key lies back; left/right: positions seen back/ahead besides itself, -1 all;
    softcap 0 is off. probs: a grid of probabilities (`edgeq.ir.probabilities`), whose largest level is probs_scale
    `[1]`; values are then int8.
    """
    p = probabilities(
        q, k, pad, bias, sinks, row_bias, column_bias, distance_bias,
        heads=heads, kv_heads=kv_heads, scale=scale, causal=causal, left=left, right=right, softcap=softcap,
    )  # fmt: skip
    v = split_heads(v, kv_heads).repeat_interleave(heads // kv_heads, 1)
    return join_heads(p @ v if probs_scale is None else coded_product(p, v, probs, probs_scale))


def probabilities(
    q: Tensor, k: Tensor, pad: Tensor | None, bias: Tensor | None, sinks: Tensor | None, row_bias: Tensor | None,
    column_bias: Tensor | None, distance_bias: Tensor | None, *, heads: int, kv_heads: int, scale: float, causal: bool,
    left: int = -1, right: int = -1, softcap: float = 0.0,
) -> Tensor:  # fmt: skip
    """What each key counts for, `[B,heads,S,L]`; arguments as of `attention`."""
    rows, keys = q.shape[1], k.shape[1]
    seen = None
    query = torch.arange(rows, device=q.device) + (keys - rows)
    if causal or left >= 0 or right >= 0:
        seen = visible(query, keys, causal=causal, left=left, right=right)
    if pad is not None:
        real = pad.bool()[:, None, None, :]
        seen = real if seen is None else seen & real
    grid = None if distance_bias is None else by_distance(distance_bias, query, keys)
    if row_bias is not None and column_bias is not None:
        grid = (row_bias[..., :, None] + column_bias[..., None, :]).flatten(-2)
    q, k = split_heads(q, heads), split_heads(k, kv_heads).repeat_interleave(heads // kv_heads, 1)
    return weights(q @ k.transpose(-1, -2) * scale, seen, bias, sinks, softcap, grid)


def stored(x: Tensor, kv: str) -> Tensor:
    """What is read back after storing x `[..., D]` as cache type `kv` (i8: a scale absmax/127 per token and head)."""
    if kv == "f32":
        return x
    if kv == "f16":
        return x.half().to(x.dtype)
    if kv != "i8":
        raise VerifyError(f"no cache type {kv!r} of single positions; known: {', '.join(CROSS_CACHE_TYPES)}")
    absmax = x.abs().amax(-1, keepdim=True).clamp(min=1e-20)
    return torch.round(x * (127.0 / absmax)) * (absmax / 127.0)


def _cached_shape(q: Tensor, k: Tensor, v: Tensor, *rest: object, heads: int, kv_heads: int, **_: object) -> Tensor:
    return q.new_empty(*q.shape[:-1], v.shape[-1] // kv_heads * heads)


@opaque(
    "cached_attention(Tensor q, Tensor k, Tensor v, Tensor(a!) k_cache, Tensor(b!) v_cache, Tensor start, "
    "Tensor? bias=None, Tensor? sinks=None, *, int heads, int kv_heads, "
    "float scale, int left=-1, float softcap=0., "
    "str kv='f16') -> Tensor",
    _cached_shape,
)
def cached_attention(
    q: Tensor, k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, start: Tensor, bias: Tensor | None = None,
    sinks: Tensor | None = None, *, heads: int, kv_heads: int, scale: float, left: int = -1, softcap: float = 0.0,
    kv: str = "f16",
) -> Tensor:
    """Causal attention of rows at positions `start..start+S-1` over everything cached so far, themselves included.

    q `[B,S,heads*D]`, k `[B,S,kv_heads*D]`, v `[B,S,kv_heads*Dv]`, caches `[B,kv_heads,L,D|Dv]` written in place with
    the values that a cache of type `kv` gives back (i4, i2: with those that a query close by reads, as float16), start
    `[1]`, bias `[heads, L]` by how far a key lies back.
    """
    first, rows = int(start), q.shape[1]
    last = first + rows
    single = "f16" if kv in BITS else kv
    k_cache[:, :, first:last] = stored(split_heads(k, kv_heads), single)
    v_cache[:, :, first:last] = stored(split_heads(v, kv_heads), single)
    query = torch.arange(first, last, device=q.device)
    if kv in BITS:

        def weigh(scores: Tensor, query: Tensor) -> Tensor:
            keys = scores.shape[-1]
            seen = visible(query, keys, causal=True, left=left, right=-1)
            return weights(scores, seen, None if bias is None else by_distance(bias, query, keys), sinks, softcap)

        return join_heads(attend_blocks(split_heads(q, heads) * scale, k_cache, v_cache, query, BITS[kv], weigh))
    seen = visible(query, last, causal=True, left=left, right=-1)
    bias = None if bias is None else by_distance(bias, query, last)
    out = attend(split_heads(q, heads), k_cache[:, :, :last], v_cache[:, :, :last], seen, bias, sinks, scale, softcap)
    return join_heads(out)
