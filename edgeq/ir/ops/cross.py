"""Cross-attention in two entries: the encoder's stores keys and values, the decoder's attends over them."""

from __future__ import annotations

import torch
from torch import Tensor

from edgeq.ir.ops.attention import attend, join_heads, split_heads, stored
from edgeq.ir.ops.library import opaque


def _nothing(*_: object, **__: object) -> None:
    return None


@opaque("store_keys(Tensor k, Tensor v, Tensor(a!) k_cache, Tensor(b!) v_cache, *, str kv='f16') -> ()", _nothing)
def store_keys(k: Tensor, v: Tensor, k_cache: Tensor, v_cache: Tensor, *, kv: str = "f16") -> None:
    """Write k `[B,L,kv_heads*D]`, v `[B,L,kv_heads*Dv]` to positions `0..L-1` of caches `[B,kv_heads,C,D|Dv]`, C >= L.

    What is written are the values that a cache of type `kv` gives back.
    """
    keys, kv_heads = k.shape[1], k_cache.shape[1]
    k_cache[:, :, :keys] = stored(split_heads(k, kv_heads), kv)
    v_cache[:, :, :keys] = stored(split_heads(v, kv_heads), kv)


@opaque("count_keys(Tensor mask, Tensor(a!) n_keys) -> ()", _nothing)
def count_keys(mask: Tensor, n_keys: Tensor) -> None:
    """Write the length of a text padded on the right: nonzero entries of mask `[1,L]` (or 1) to n_keys i32 `[1]`."""
    n_keys.copy_((mask != 0).sum().clamp(min=1).reshape(1))


def _attended(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, n_keys: Tensor, *, heads: int, **_: object
) -> Tensor:
    return q.new_empty(*q.shape[:-1], heads * v_cache.shape[3])


@opaque(
    "cross_attention(Tensor q, Tensor k_cache, Tensor v_cache, Tensor n_keys, *, int heads, int kv_heads, "
    "float scale, float softcap=0., str kv='f16') -> Tensor",
    _attended,
)
def cross_attention(
    q: Tensor, k_cache: Tensor, v_cache: Tensor, n_keys: Tensor, *, heads: int, kv_heads: int, scale: float,
    softcap: float = 0.0, kv: str = "f16",
) -> Tensor:
    """q `[B,S,heads*D]` over positions `0..n_keys-1` of caches `[B,kv_heads,C,D|Dv]` of type `kv`; n_keys i32 `[1]`.

    Every row sees every key: the encoder's text is known whole.
    """
    seen = torch.arange(k_cache.shape[2], device=q.device)[None] < n_keys.reshape(1, 1)
    out = attend(split_heads(q, heads), k_cache, v_cache, seen, None, None, scale, softcap)
    return join_heads(out)
