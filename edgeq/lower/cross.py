"""Cross-attention: an encoder's entry stores keys and values in caches, the decoder's attends over them."""

from __future__ import annotations

import math

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import arguments as attrs
from edgeq.ir.graph import hf_name as module
from edgeq.kernels import attention as attention_kernels
from edgeq.kernels import count as count_kernels
from edgeq.kernels import elementwise, kv_store
from edgeq.lower.attention import CACHE_BYTES
from edgeq.lower.node import shape
from edgeq.lower.plan import NULL, Arg, Literal, Loaded, Split
from edgeq.lower.scope import Scope
from edgeq.lower.values import Buffer

COUNT_BYTES = 4


def lower_store_keys(scope: Scope, node: fx.Node) -> None:
    """Rows of k and v from position 0 on; a unit is a key head."""
    a = attrs(node)
    k, v = scope.view(a["k"]), scope.view(a["v"])
    if k.ld != v.ld:
        raise UnsupportedError(f"{module(node)}: keys and values lie {k.ld} and {v.ld} floats apart")
    _, heads, capacity, dim = shape(a["k_cache"])
    kernel = kv_store.store(heads, dim, shape(a["v_cache"])[3], k.ld, a["kv"], capacity)
    scope.call(kernel, (Literal(str(k.rows)), Literal("0"), k, v, *_caches(scope, node)), Split("units", heads), node)


def lower_count_keys(scope: Scope, node: fx.Node) -> None:
    """The length of the encoder's text, for every decoder step after it."""
    mask = scope.view(attrs(node)["mask"])
    if mask.dtype != "i32" or mask.rows != 1:
        raise UnsupportedError(f"{module(node) or node.name}: a padding mask that is not one row of integers")
    n_keys = _count(scope, attrs(node)["n_keys"])
    scope.call(count_kernels.count(mask.width), (mask, n_keys), Split("units", 1), node)


def lower_cross_attention(scope: Scope, node: fx.Node) -> None:
    """One row over every stored key."""
    a, q = attrs(node), scope.view(attrs(node)["q"])
    if q.rows != 1:
        raise UnsupportedError(f"{module(node)}: cross-attention takes one row at a time")
    _, kv_heads, capacity, dim = shape(a["k_cache"])
    value_dim = shape(a["v_cache"])[3]
    scale = elementwise.unary(q.width, "scale", float(a["scale"]) * math.log2(math.e))
    q = scope.row_call(scale, (q,), node, q.width, 1)
    out = scope.tensor("cross", a["heads"] * value_dim, 1)
    options = (a["kv"], capacity, -1, float(a["softcap"]))
    kernel = attention_kernels.decode(a["heads"], kv_heads, dim, value_dim, q.ld, *options)
    scratch = scope.buffer("scores", attention_kernels.scratch_bytes(capacity), 1, private=True)
    args = (_last(scope, a["n_keys"]), q, *_caches(scope, node), scratch, out)
    scope.call(kernel, args, Split("units", a["heads"]), node)
    scope.env[node] = out


def _last(scope: Scope, n_keys: fx.Node) -> Arg:
    """Position of the last key: known now, or counted by the encoder's entry."""
    if n_keys.op == "get_attr":
        owner = n_keys.graph.owning_module
        return Literal(str(int(getattr(owner, str(n_keys.target))) - 1))
    return Loaded(_count(scope, n_keys), -1)


def _count(scope: Scope, n_keys: fx.Node) -> Buffer:
    name = str(n_keys.target)
    return scope.state.setdefault(name, Buffer(name, COUNT_BYTES, 1, pinned=True))


def _caches(scope: Scope, node: fx.Node) -> tuple[Arg, ...]:
    """Key and value caches, then their scales when they are int8; shared by all entries."""
    a = attrs(node)
    out: list[Arg] = []
    for suffix in ("", "_scale"):
        for name in ("k_cache", "v_cache"):
            _, heads, capacity, dim = shape(a[name])
            each = 4 * (a["kv"] == "i8") if suffix else dim * CACHE_BYTES[a["kv"]]
            key = f"{a[name].target}{suffix}"
            if each:
                scope.caches.setdefault(key, Buffer(key, each * heads * capacity, 1, pinned=True))
            out.append(scope.caches[key] if each else NULL)
    return tuple(out)
