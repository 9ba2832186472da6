"""Hooks into transformers: every mask becomes one node, every attention one node.

The mask alone decides what a query sees (`module.is_causal` is only a hint to other backends), so the mask *function*
that transformers hands over is classified by behaviour, on concrete indices, and becomes attributes of the mask node.
The two ops live in their own namespace: they exist only between tracing and raising.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers.masking_utils as masking
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from transformers.masking_utils import AttentionMaskInterface
from transformers.modeling_utils import AttentionInterface

LIBRARY = torch.library.Library("edgeq_trace", "FRAGMENT")
LIBRARY.define("mask(Tensor like, Tensor? pad, SymInt rows, SymInt keys, bool causal, int left, int right) -> Tensor")
LIBRARY.define(
    "attention(Tensor q, Tensor k, Tensor v, Tensor? mask, Tensor? bias, Tensor? sinks, float scale, float softcap)"
    " -> Tensor"
)
PROBE = 20000  # beyond any window that a model would use
MaskKind = tuple[bool, int, int]


def _mask_shape(like: Tensor, pad: Tensor | None, rows: int, keys: int, *kind: Any) -> Tensor:
    return like.new_empty(like.shape[0], 1, rows, keys, dtype=torch.bool)


def _attention_shape(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> Tensor:
    """q `[B,H,S,D]`, v `[B,G,L,Dv]` -> `[B,S,H,Dv]`."""
    return q.new_empty(q.shape[0], q.shape[2], q.shape[1], v.shape[3])


torch.library.register_fake("edgeq_trace::mask", _mask_shape, lib=LIBRARY)
torch.library.register_fake("edgeq_trace::attention", _attention_shape, lib=LIBRARY)


def classify(function: Callable) -> MaskKind | None:
    """(causal, left, right) of a mask function `f(batch, head, query, key) -> bool`; None when it is another pattern.

    left/right: positions seen back/ahead besides itself, -1 for all.
    """
    zero, query = torch.tensor(0), torch.tensor([[0], [1], [777], [PROBE]])
    key = torch.arange(2 * PROBE)[None]
    try:
        seen = torch.as_tensor(function(zero, zero, query, key)).expand(len(query), 2 * PROBE)
    except Exception:
        return None  # it needs more than indices: not a pattern over positions
    last, distance = seen[3], query - key
    causal = not bool(last[PROBE + 1 :].any())
    left = -1 if bool(last[0]) else int(last[: PROBE + 1].sum()) - 1
    right = -1 if causal or bool(last[-1]) else int(last[PROBE:].sum()) - 1
    want = torch.ones_like(seen)
    want = want & (distance >= 0) if causal else want
    want = want & (distance <= left) if left >= 0 else want
    want = want & (-distance <= right) if right >= 0 else want
    return (causal, left, right) if bool((want == seen).all()) else None


def mask_hook(
    batch_size: int, q_length: int, kv_length: int, q_offset: int = 0, kv_offset: int = 0,
    mask_function: Callable = masking.causal_mask_function, attention_mask: Tensor | None = None,
    device: Any = None, **options: Any,
) -> Tensor | None:
    """Mask interface: one `edgeq_trace::mask` node, or transformers' own mask where the pattern is unknown."""
    with _disable_current_modes():
        kind = classify(mask_function)
    if kind is None:
        options = {"use_vmap": options.get("use_vmap", False)}
        return masking.sdpa_mask(
            batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask,
            allow_is_causal_skip=False, device=device, **options,
        )
    like = torch.empty(batch_size, device=device or "cpu")
    return torch.ops.edgeq_trace.mask(like, attention_mask, q_length, kv_length, *kind)


def additive_mask_hook(*args: Any, dtype: torch.dtype = torch.float32, **options: Any) -> Tensor:
    """The same for attention written out by hand, which adds its mask to the scores."""
    mask = mask_hook(*args, **options)
    return torch.where(mask, torch.tensor(0.0, dtype=dtype), torch.finfo(dtype).min)


def attention_hook(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float | None = None,
    softcap: float | None = None, s_aux: Tensor | None = None, position_bias: Tensor | None = None, **options: Any,
) -> tuple[Tensor, None]:
    """Attention interface: query `[B,H,S,D]`, key and value `[B,G,L,*]` -> `[B,S,H,Dv]`."""
    scale = float(scaling if scaling is not None else query.shape[-1] ** -0.5)
    if attention_mask is not None and attention_mask.is_floating_point():  # a bias that the model made itself
        position_bias = attention_mask if position_bias is None else position_bias + attention_mask
        attention_mask = None
    out = torch.ops.edgeq_trace.attention(
        query, key, value, attention_mask, position_bias, s_aux, scale, float(softcap or 0.0)
    )
    return out, None


AttentionInterface.register("edgeq", attention_hook)
AttentionMaskInterface.register("edgeq", mask_hook)
IMPLEMENTATIONS = ("edgeq", "sdpa", "eager")  # tried in this order


@contextlib.contextmanager
def tracing(implementation: str) -> Iterator[None]:
    """While a model is exported: masks of `implementation` are nodes, and position ids are positions, not packing."""
    hook = additive_mask_hook if implementation == "eager" else mask_hook
    masks, packed = AttentionMaskInterface._global_mapping, masking.find_packed_sequence_indices
    original = masks[implementation]
    masks[implementation] = hook
    masking.find_packed_sequence_indices = lambda position_ids: None
    try:
        yield
    finally:
        masks[implementation] = original
        masking.find_packed_sequence_indices = packed
