"""Attention over the cache: what stands between the linears of q, k, v and attention becomes one `heads` call.

One merged linear makes q, k and v; where their formats differ several do, each its columns of the same rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.frontend.weights import evaluate
from edgeq.ir.graph import arguments as attrs
from edgeq.ir.graph import hf_name as module
from edgeq.ir.graph import op
from edgeq.kernels import attention as attention_kernels
from edgeq.kernels import heads as heads_kernels
from edgeq.kernels.kv_cache import KvCache
from edgeq.lower.linear import lower_linear
from edgeq.lower.node import width
from edgeq.lower.norm import Norm
from edgeq.lower.plan import NULL, ONE, POS, Arg, M, Split, Weight
from edgeq.lower.scope import Scope
from edgeq.lower.values import Buffer, View
from edgeq.lower.weights import TILE

CACHE_BYTES = {"f32": 4, "f16": 2, "i8": 1}


@dataclass(frozen=True)
class Path:
    """How one operand of attention comes from a linear: its first column there, head norm and rotation."""

    linear: fx.Node
    column: int
    norm: fx.Node | None
    rope: fx.Node | None


@dataclass(frozen=True)
class Site:
    """One attention node with the linears that make its q, k and v, in that order."""

    node: fx.Node
    q: Path
    k: Path
    heads: int
    kv_heads: int
    dim: int
    value_dim: int
    linears: tuple[fx.Node, ...]

    @property
    def heads_total(self) -> int:
        """Heads of q, k and v together."""
        return self.heads + 2 * self.kv_heads

    @property
    def tiles_per_head(self) -> int:
        """16-row tiles of a head, 0 when q, k and v heads differ in size or are not whole tiles."""
        same = self.dim == self.value_dim and self.dim % TILE == 0
        return self.dim // TILE if same else 0


def find_sites(graph: fx.Graph) -> dict[fx.Node, Site]:
    """Linear -> the attention site of its result; raises UnsupportedError listing every attention without such."""
    found, faults = {}, []
    for node in graph.nodes:
        if op(node) != "edgeq.cached_attention":
            continue
        try:
            site = _site(node)
            found.update(dict.fromkeys(site.linears, site))
        except UnsupportedError as error:
            faults.append(str(error))
    if faults:
        raise UnsupportedError("attention that cannot be compiled:\n  " + "\n  ".join(faults))
    return found


def _site(node: fx.Node) -> Site:
    a, name = attrs(node), module(node) or node.name
    if a["sinks"] is not None:
        raise UnsupportedError(f"{name}: attention sinks")
    q, k, v = (_trace(a[x], name) for x in "qkv")
    widths = [width(a[x]) for x in "qkv"]
    dim, value_dim = widths[0] // a["heads"], widths[2] // a["kv_heads"]
    linears = tuple(dict.fromkeys(path.linear for path in (q, k, v)))
    if not _side_by_side([q, k, v], widths) or len({attrs(linear)["x"] for linear in linears}) > 1:
        raise UnsupportedError(f"{name}: q, k and v do not come from linears of one input, side by side")
    if v.norm or v.rope or _rotation(q) != _rotation(k):
        raise UnsupportedError(f"{name}: q and k are rotated differently, or v is normalised")
    if any(p.norm is not None and attrs(p.norm)["b"] is not None for p in (q, k)):
        raise UnsupportedError(f"{name}: the norm of q or k has a bias")
    if any(p.norm is not None and attrs(p.norm)["heads"] != n for p, n in ((q, a["heads"]), (k, a["kv_heads"]))):
        raise UnsupportedError(f"{name}: q or k is normalised over all heads together; only norms of each head compile")
    return Site(node, q, k, a["heads"], a["kv_heads"], dim, value_dim, linears)


def _trace(node: fx.Node, name: str) -> Path:
    """Walk back through rotation and head norm to a linear, or a slice of one."""
    rope = norm = None
    if op(node) == "edgeq.rope":
        rope, node = node, attrs(node)["x"]
    if op(node) == "edgeq.rms_norm":
        norm, node = node, attrs(node)["x"]
    if op(node) == "aten.slice" and op(attrs(node)["self"]) == "edgeq.qlinear":
        return Path(attrs(node)["self"], int(attrs(node)["start"] or 0), norm, rope)
    if op(node) == "edgeq.qlinear":
        return Path(node, 0, norm, rope)
    raise UnsupportedError(f"{name}: its input is computed by {op(node) or node}, not by a linear or a slice of one")


def _side_by_side(paths: list[Path], widths: list[int]) -> bool:
    """Whether each linear's columns are some of the operands one after the other, and all of it."""
    at: dict[fx.Node, int] = {}
    for i, (path, size) in enumerate(zip(paths, widths, strict=True)):
        apart = path.linear in at and paths[i - 1].linear is not path.linear
        if apart or path.column != at.get(path.linear, 0):
            return False
        at[path.linear] = path.column + size
    return all(width(linear) == end for linear, end in at.items())


def _rotation(path: Path) -> tuple[fx.Node, float] | None:
    return None if path.rope is None else (attrs(path.rope)["inv_freq"], float(attrs(path.rope)["scale"]))


def lower_projections(scope: Scope, site: Site) -> None:
    """The linears of q, k and v, then their heads; several linears write columns of one tensor."""
    if len(site.linears) > 1:
        x = scope.env[attrs(site.linears[0])["x"]]
        rows = x.view.rows if isinstance(x, Norm) else x.rows
        qkv, at = scope.tensor("qkv", sum(map(width, site.linears)), rows), 0
        for node in site.linears:
            scope.places[node] = qkv.columns(at, at + width(node))
            at += width(node)
    for node in site.linears:
        lower_linear(scope, node)
    qkv = scope.view(site.linears[0]) if len(site.linears) == 1 else qkv
    lower_heads(scope, site, qkv)
    scope.env[site.node] = qkv  # until attention has its own result


def lower_heads(scope: Scope, site: Site, qkv: View) -> None:
    """Normalise, rotate and scale the queries in place, and write keys and values to the cache."""
    a = attrs(site.node)
    cos, sin, dims = _tables(scope, site)
    eps, offset = _norm_options(site)
    kernel = heads_kernels.heads(
        site.heads, site.kv_heads, site.dim, site.value_dim, site.q.norm is not None, site.k.norm is not None,
        eps, offset, dims, a["kv"], scope.context, float(a["scale"]) * math.log2(math.e),
        scope.ring(a["kv"]),
    )  # fmt: skip
    norms = [Weight(scope.table.vector(attrs(p.norm)["w"])) if p.norm is not None else NULL for p in (site.q, site.k)]
    rows: Arg = M if qkv.rows > 1 else ONE
    share = qkv.buffer.name if site.tiles_per_head and len(site.linears) == 1 else ""
    split = Split("units", site.heads_total, 1, share)
    scope.call(kernel, (rows, POS, qkv, *norms, cos, sin, *_caches(scope, site)), split, site.node)
    scope.done |= {n for p in (site.q, site.k) for n in (p.norm, p.rope) if n is not None}
    scope.done |= {user for linear in site.linears for user in linear.users if op(user) == "aten.slice"}


def lower_attention(scope: Scope, site: Site, qkv: View) -> None:
    """Attention of the rows just appended over the whole cache."""
    a, one = attrs(site.node), qkv.rows == 1
    out = scope.tensor("attention", site.heads * site.value_dim, qkv.rows)
    shape = (site.heads, site.kv_heads, site.dim, site.value_dim, qkv.ld)
    options = (a["kv"], scope.context, int(a["left"]), float(a["softcap"]))
    make = attention_kernels.decode if one else attention_kernels.chunk
    size = attention_kernels.scratch_bytes(scope.context)
    scratch = scope.buffer("scores", size, 1, private=True)
    split = Split("units", site.heads) if one else Split("head_blocks", site.heads)
    head = (POS,) if one else (M, POS)
    bias = _bias(scope, a["bias"])
    args = (*head, qkv, *_caches(scope, site), *bias, scratch, out)
    scope.call(make(*shape, *options, bool(bias), scope.ring(a["kv"])), args, split, site.node)
    scope.env[site.node] = out


def _bias(scope: Scope, node: fx.Node | None) -> tuple[Arg, ...]:
    """Biases by distance, evaluated: they come from few buckets."""
    if node is None:
        return ()
    values = evaluate(node, scope.table.weights).detach().float().numpy()
    return (Weight(scope.table.constant("bias.distance", attention_kernels.distance_table(values))),)


def _norm_options(site: Site) -> tuple[float, float]:
    """eps and offset of the head norms; q's and k's must agree."""
    norms = [attrs(p.norm) for p in (site.q, site.k) if p.norm is not None]
    options = {(float(a["eps"]), float(a["offset"])) for a in norms}
    if len(options) > 1:
        raise UnsupportedError(f"{module(site.node)}: the norms of q and k have different eps or offset")
    return options.pop() if options else (0.0, 0.0)


def _tables(scope: Scope, site: Site) -> tuple[Arg, Arg, int]:
    """cos and sin as tables over positions [context, rope_dims/2], computed in float32 as transformers does."""
    rotation = _rotation(site.q)
    if rotation is None:
        return NULL, NULL, 0
    node, scale = rotation
    inv_freq = evaluate(node, scope.table.weights).detach()
    angles = torch.arange(scope.context, dtype=torch.float32)[:, None] * inv_freq[None]
    tables = [np.ascontiguousarray((f(angles) * scale).numpy()) for f in (torch.cos, torch.sin)]
    cos, sin = (Weight(scope.table.constant(f"rope.{n}", t)) for n, t in zip(("cos", "sin"), tables, strict=True))
    return cos, sin, 2 * inv_freq.numel()


def _caches(scope: Scope, site: Site) -> tuple[Arg, ...]:
    """Key and value caches of this layer, then their scales (i8) or rings (i4, i2); shared by all entries."""
    a = attrs(site.node)
    cache = KvCache(site.kv_heads, site.dim, site.value_dim, a["kv"], scope.context, scope.ring(a["kv"]))
    beside = ("k_ring", "v_ring") if cache.blocks else ("k_scale", "v_scale")
    index = str(a["k_cache"].target).rsplit("_", 1)[-1]
    sizes = (cache.bytes[pointer] for pointer in ("kc", "vc", "ks", "vs"))
    out: list[Arg] = []
    for name, size in zip(("k_cache", "v_cache", *beside), sizes, strict=True):
        key = f"{name}_{index}"
        if size:
            scope.caches.setdefault(key, Buffer(key, size, 1, pinned=True))
        out.append(scope.caches[key] if size else NULL)
    return tuple(out)
