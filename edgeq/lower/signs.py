"""Attention whose scores are of signs: keys are packed by a call, queries by the kernel that reads them."""

from __future__ import annotations

from typing import Any

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import arguments as attrs
from edgeq.ir.graph import hf_name as module
from edgeq.ir.graph import op
from edgeq.kernels import attend_signs
from edgeq.kernels.kernel import Kernel
from edgeq.lower.scope import Scope
from edgeq.lower.values import Buffer, View

OP = "edgeq.sign_heads"


def lower_sign_heads(scope: Scope, node: fx.Node) -> None:
    """No call: attention, the one that may read it, takes the floats and packs them."""
    scope.env[node] = scope.view(attrs(node)["x"])


def lower_scores(
    scope: Scope, node: fx.Node, k: Any, sizes: tuple[int, ...], strides: list[Any], masks: tuple[Any, ...]
) -> tuple[Kernel, Buffer]:
    """Keys packed; the kernel over signs and what it takes for k. Raises UnsupportedError where k is no activation."""
    a = attrs(node)
    if op(a["k"]) != OP or not isinstance(k, View):
        raise UnsupportedError(f"{module(node) or node.name}: scores of signs need queries and keys of sign_heads")
    batch, _, keys, _, kv_heads, channels, _ = sizes
    given: list[Any] = [*sizes, strides[0], strides[2], float(a["scale"]), *masks]
    kernel = attend_signs.attend_signs(*given)
    packed = scope.buffer("keys", attend_signs.key_bytes(kv_heads, channels), batch * keys)
    pack = attend_signs.pack_keys(batch, keys, kv_heads, channels, strides[1])
    scope.call(pack, (k, packed), scope.by_rows(batch * keys), node)
    return kernel, packed
