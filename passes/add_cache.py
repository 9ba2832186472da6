"""Incremental decoding: attention over the whole text becomes attention over a cache that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import fx

from edgeq.errors import UsageError
from edgeq.ir.graph import arguments, calls, hf_name, inputs, insert, op, remove_unused, replace, run_fake, site, value
from edgeq.ir.ops.attention import CACHE_TYPES
from edgeq.ir.ops.kv_blocks import BITS
from edgeq.passes.pass_ import Context, Pass, Report, Site, refuse


@dataclass(frozen=True)
class AddCache(Pass):
    """`attention` -> `cached_attention`; new inputs `start`, `n_valid`, and `k_cache_i`, `v_cache_i` a layer.

    Positions that the model counts itself (an arange that reaches an embedding) become the input `position_ids`:
    otherwise every step would stand at position 0. Exact in real arithmetic, up to what the cache type rounds.

    Attributes:
        kv: type that keys and values are stored as: f16, i8, f32, or by blocks of 32 tokens in i4 or i2.
        context: tokens that a cache holds.
    """

    name: ClassVar[str] = "add-cache"
    kv: str = "f16"
    context: int = 2048

    def __post_init__(self) -> None:
        if self.kv not in CACHE_TYPES:
            raise UsageError(f"a cache cannot be stored as {self.kv!r}; known: {', '.join(CACHE_TYPES)}")
        if self.context < 1:
            raise UsageError(f"a cache of {self.context} tokens holds nothing; give a positive context")

    def requires(self, gm: fx.GraphModule) -> None:
        """Valid, with token ids `[1, S]`, and either every attention over the tokens is cacheable or none is."""
        super().requires(gm)
        if "input_ids" not in inputs(gm):
            refuse("only a model of token ids can be cached", [Site("inputs", ", ".join(inputs(gm)) or "none")])
        reasons = [(node, _why_not(node)) for node in calls(gm, "edgeq.attention")]
        if any(reason is None for _, reason in reasons):
            refuse("attention that cannot be cached", [Site(site(node), reason) for node, reason in reasons if reason])

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Rewrite every causal attention; an encoder (none causal) stays as it is, its sites declined."""
        found = calls(gm, "edgeq.attention")
        causal = [node for node in found if _why_not(node) is None]
        declined = tuple(Site(site(node), _why_not(node) or "") for node in found if node not in causal)
        if not causal:
            return Report(str(self), (), declined)
        moved = list(_take_positions(gm))
        start = _new_input(gm, "start", [1], torch.int64)
        _new_input(gm, "n_valid", [1], torch.int64)
        changed = [self._cache(gm, index, node, start) for index, node in enumerate(causal)]
        remove_unused(gm)
        return Report(str(self), tuple(moved + changed), declined)

    def _cache(self, gm: fx.GraphModule, index: int, node: fx.Node, start: fx.Node) -> Site:
        given = arguments(node)
        self._check_heads(node)
        caches = []
        for name in ("k", "v"):
            shape = [1, given["kv_heads"], self.context, value(given[name]).shape[-1] // given["kv_heads"]]
            caches.append(_new_input(gm, f"{name}_cache_{index}", shape, torch.float32))
        kept = {name: given[name] for name in ("heads", "kv_heads", "scale", "left", "softcap")}
        with gm.graph.inserting_before(node):
            new = insert(
                gm.graph, "edgeq.cached_attention", given["q"], given["k"], given["v"], *caches, start,
                self._bias(node, given["distance_bias"]), given["sinks"], **kept, kv=self.kv, like=node,
            )  # fmt: skip
        replace(node, new)
        return Site(hf_name(new), f"caches {given['kv_heads']} heads x {self.context} tokens as {self.kv}")

    def _check_heads(self, node: fx.Node) -> None:
        """Blocks of codes take heads of 16 n channels."""
        given = arguments(node)
        sizes = [value(given[name]).shape[-1] // given["kv_heads"] for name in ("k", "v")]
        if self.kv in BITS and any(size % 16 for size in sizes):
            reason = f"heads of {sizes[0]} and {sizes[1]} channels; {self.kv} takes multiples of 16: use kv8 or kv16"
            refuse("a cache by blocks", [Site(site(node), reason)])

    def _bias(self, node: fx.Node, bias: fx.Node | None) -> fx.Node | None:
        """A bias by distance `[heads, context]`, at the insertion point."""
        if bias is None:
            return None
        known = int(value(bias).shape[1])
        if known < self.context:
            refuse("a bias by distance", [Site(site(node), f"is known for {known} positions; use --context {known}")])
        return insert(node.graph, "aten.slice.Tensor", bias, 1, 0, self.context, like=node)


def _why_not(node: fx.Node) -> str | None:
    given = arguments(node)
    if not given["causal"]:
        return "it is not causal"
    if given["bias"] is not None:
        return "it adds a bias to the scores"
    if given["pad"] is not None:
        return "it takes a padding mask; export without one"
    if given["probs"]:
        return "its probabilities are on a grid (agq), which no cache knows"
    return None


def _new_input(gm: fx.GraphModule, name: str, shape: list[int], dtype: torch.dtype) -> fx.Node:
    """Append a typed input after the others."""
    last = list(inputs(gm).values())[-1]
    with gm.graph.inserting_after(last):
        node = gm.graph.create_node("placeholder", name, name=name)
    tokens = value(inputs(gm)["input_ids"])
    node.meta.update(val=tokens.new_empty(shape, dtype=dtype), hf="")
    return node


def _take_positions(gm: fx.GraphModule) -> Iterator[Site]:
    """Make `position_ids` the second input, and put it where the model counts positions itself."""
    tokens = inputs(gm)["input_ids"]
    if "position_ids" not in inputs(gm):
        with gm.graph.inserting_after(tokens):
            node = gm.graph.create_node("placeholder", "position_ids", name="position_ids")
        node.meta.update(val=value(tokens).new_empty(value(tokens).shape), hf="")
    positions = inputs(gm)["position_ids"]
    for node in _counted(gm):
        yield Site(site(node), "positions are an input")
        _use(positions, node)


def _counted(gm: fx.GraphModule) -> list[fx.Node]:
    """Aranges over the token axis whose numbers reach an embedding or a rotation."""
    length = str(value(inputs(gm)["input_ids"]).shape[1])
    return [node for node in calls(gm, "aten.arange") if str(value(node).shape[0]) == length and _indexes(node)]


def _indexes(node: fx.Node) -> bool:
    return any(
        op(user) in ("aten.embedding", "edgeq.rope") or (op(user) in ("aten.add", "aten.unsqueeze") and _indexes(user))
        for user in node.users
    )


def _use(positions: fx.Node, counted: fx.Node) -> None:
    """Replace an arange `[S]` (from its start) by `positions` `[1, S]`; what follows broadcasts, and is typed anew."""
    first = _first(counted)
    with counted.graph.inserting_before(counted):
        new = insert(counted.graph, "aten.add.Tensor", positions, first, like=counted) if first else positions
    for user in list(counted.users):
        if op(user) == "aten.unsqueeze":
            replace(user, new)
    replace(counted, new)
    _retype_users(new)


def _first(counted: fx.Node) -> Any:
    given = arguments(counted)
    if given.get("step", 1) != 1:
        refuse("positions that the model counts itself", [Site(site(counted), f"in steps of {given['step']}")])
    return given.get("start", 0)


def _retype_users(node: fx.Node) -> None:
    pending = list(node.users)
    while pending:
        user = pending.pop(0)
        if user.op == "call_function" and _text(new := run_fake(user)) != _text(value(user)):
            user.meta["val"] = new
            pending += list(user.users)


def _text(held: Any) -> str:
    return f"{held.dtype} {list(held.shape)}" if isinstance(held, torch.Tensor) else str(held)
