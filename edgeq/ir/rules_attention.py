"""What attention, caches and what they are made of demand of their arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import fx

from edgeq.errors import VerifyError
from edgeq.ir.graph import arguments, is_weight, op, value
from edgeq.ir.ops.attention import CACHE_TYPES, CROSS_CACHE_TYPES
from edgeq.ir.probabilities import ProbabilityGrid
from edgeq.ir.rules import shape, vector, width


def _head_problems(given: dict[str, Any]) -> Iterator[str]:
    heads, kv_heads = given["heads"], given["kv_heads"]
    if heads < 1 or kv_heads < 1 or heads % kv_heads:
        yield f"{heads} query heads do not divide into {kv_heads} key heads"
    for name, count in (("q", heads), ("k", kv_heads), ("v", kv_heads)):
        if width(given[name]) % count:
            yield f"{name} has {width(given[name])} channels, not a multiple of {count} heads"
    if width(given["q"]) * kv_heads != width(given["k"]) * heads:
        yield f"q and k differ in channels a head: {width(given['q'])}/{heads}, {width(given['k'])}/{kv_heads}"


def attention(node: fx.Node) -> Iterator[str]:
    """Heads divide; windows and caps make sense; sinks are one a head."""
    given = arguments(node)
    yield from _head_problems(given)
    if min(given["left"], given.get("right", -1)) < -1 or given["softcap"] < 0:
        yield f"left {given['left']}, right {given.get('right', -1)}, softcap {given['softcap']} out of range"
    yield from vector("sinks", given["sinks"], given["heads"])
    yield from _probabilities(given.get("probs", ""), given.get("probs_scale"))
    if (given.get("row_bias") is None) != (given.get("column_bias") is None):
        yield "row_bias and column_bias come together"
    if given.get("distance_bias") is not None:
        yield from _by_distance("distance_bias", given["distance_bias"], given["heads"])
        if not given["causal"]:
            yield "distance_bias with attention that is not causal"


def _probabilities(probs: str, scale: fx.Node | None) -> Iterator[str]:
    if bool(probs) != (scale is not None):
        yield "probs and probs_scale come together"
    elif scale is not None:
        yield from vector("probs_scale", scale, 1)
        try:
            ProbabilityGrid.parse(probs)
        except VerifyError as error:
            yield str(error)


def _by_distance(name: str, bias: fx.Node, heads: int) -> Iterator[str]:
    if not is_weight(bias) or len(shape(bias)) != 2 or shape(bias)[0] != str(heads):
        yield f"{name} %{bias.name} must be a weight [{heads}, N]"


def sign_heads(node: fx.Node) -> Iterator[str]:
    """Queries and keys of attentions alone, both or neither; heads divide the width."""
    heads = arguments(node)["heads"]
    if heads < 1 or width(node) % heads:
        yield f"{heads} heads do not divide {width(node)} channels"
    for user in node.users:
        given = arguments(user) if op(user) == "edgeq.attention" else {}
        if {op(given.get("q")), op(given.get("k"))} != {"edgeq.sign_heads"}:
            yield f"{op(user) or user.op} reads it; only attention can, as its queries and keys"
        elif given["probs"] or given["sinks"] is not None or node not in (given["q"], given["k"]):
            yield f"%{user.name} has sinks or probabilities on a grid, or takes signs as values"


def cached_attention(node: fx.Node) -> Iterator[str]:
    """As attention; caches are inputs `[B, kv_heads, L, D]` that no other op touches."""
    yield from attention(node)
    given = arguments(node)
    yield from _cache_type(given)
    if given["bias"] is not None:
        yield from _by_distance("bias", given["bias"], given["heads"])
    for name, source in (("k_cache", given["k"]), ("v_cache", given["v"])):
        cache = given[name]
        yield from _cache_input(name, cache)
        sizes = shape(cache)
        expected = [str(given["kv_heads"]), str(width(source) // given["kv_heads"])]
        if len(sizes) != 4 or [sizes[1], sizes[3]] != expected:
            yield f"{name} %{cache.name} has shape {sizes}, expected [B, {expected[0]}, L, {expected[1]}]"


def store_keys(node: fx.Node) -> Iterator[str]:
    """Caches are inputs that hold at least as many positions as are written, in whole heads."""
    given = arguments(node)
    yield from _cache_type(given, CROSS_CACHE_TYPES)
    for name, source in (("k_cache", given["k"]), ("v_cache", given["v"])):
        cache = given[name]
        yield from _cache_input(name, cache)
        sizes = value(cache).shape
        if len(sizes) != 4 or int(sizes[1]) * int(sizes[3]) != width(source):
            yield f"{name} %{cache.name} has shape {shape(cache)}; its heads must hold {width(source)} channels"
        elif isinstance(value(source).shape[1], int) and int(sizes[2]) < value(source).shape[1]:
            yield f"{name} %{cache.name} holds {sizes[2]} positions; {value(source).shape[1]} are written"


def count_keys(node: fx.Node) -> Iterator[str]:
    """One row of integers, counted into an input that no other op touches."""
    given = arguments(node)
    if len(shape(given["mask"])) != 2 or shape(given["mask"])[0] != "1" or value(given["mask"]).is_floating_point():
        yield f"mask %{given['mask'].name} has shape {shape(given['mask'])}, expected integers [1, L]"
    yield from _cache_input("n_keys", given["n_keys"])


def cross_attention(node: fx.Node) -> Iterator[str]:
    """Heads divide; caches are inputs `[B, kv_heads, C, D]` that no other op touches; n_keys is one number."""
    given = arguments(node)
    yield from _cache_type(given, CROSS_CACHE_TYPES)
    heads, kv_heads = given["heads"], given["kv_heads"]
    if heads < 1 or kv_heads < 1 or heads % kv_heads or width(given["q"]) % heads:
        yield f"{width(given['q'])} channels, {heads} query heads and {kv_heads} key heads do not divide"
        return
    for name in ("k_cache", "v_cache"):
        yield from _cache_input(name, given[name])
    expected = [str(kv_heads), str(width(given["q"]) // heads)]
    sizes = shape(given["k_cache"])
    if len(sizes) != 4 or [sizes[1], sizes[3]] != expected:
        yield f"k_cache %{given['k_cache'].name} has shape {sizes}, expected [B, {expected[0]}, C, {expected[1]}]"
    if shape(given["n_keys"]) != ["1"] or value(given["n_keys"]).is_floating_point():
        yield f"n_keys %{given['n_keys'].name} must be one integer [1]"


def _cache_type(given: dict[str, Any], known: tuple[str, ...] = CACHE_TYPES) -> Iterator[str]:
    if given["kv"] not in known:
        yield f"kv = {given['kv']!r}; expected one of {', '.join(known)}"


def _cache_input(name: str, cache: fx.Node) -> Iterator[str]:
    if cache.op != "placeholder" or len(cache.users) != 1:
        yield f"{name} %{cache.name} must be an input that only this op uses"
