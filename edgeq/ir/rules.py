"""What each op of the dialect demands of its arguments: one generator of complaints an op."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import dropwhile
from typing import Any

import torch
from torch import fx

from edgeq.errors import EdgeqError, VerifyError
from edgeq.ir.graph import arguments, is_weight, op, value
from edgeq.ir.hadamard import block_size
from edgeq.ir.ops.activation import ACTIVATIONS
from edgeq.ir.ops.attention import CACHE_TYPES, CROSS_CACHE_TYPES
from edgeq.ir.ops.fake_quant import BITS
from edgeq.ir.ops.matrix import ACTS, SIGNS
from edgeq.ir.probabilities import ProbabilityGrid

Rule = Callable[[fx.Node], Iterator[str]]


def shape(node: fx.Node) -> list[str]:
    """Sizes as text: comparing symbolic sizes must never add assumptions about them."""
    return [str(size) for size in value(node).shape]


def width(node: fx.Node) -> int:
    """Size of the last axis, which is always a number."""
    return int(value(node).shape[-1])


def _vector(name: str, node: fx.Node | None, size: int) -> Iterator[str]:
    if node is None:
        return
    if not is_weight(node):
        yield f"{name} %{node.name} is computed from inputs; it must be a weight"
    elif shape(node) != [str(size)]:
        yield f"{name} %{node.name} has shape {shape(node)}, expected [{size}]"


def _matrix(node: fx.Node) -> Iterator[str]:
    if not is_weight(node):
        yield f"w %{node.name} is computed from inputs; it must be a weight"
    elif value(node).dim() != 2:
        yield f"w %{node.name} has rank {value(node).dim()}, expected 2"


def linear(node: fx.Node) -> Iterator[str]:
    """`aten.linear` and `edgeq.qlinear`: w is a weight `[N, K]`, bias a weight `[N]`, x `[..., K]`."""
    given = arguments(node)
    x, w = given.get("input", given.get("x")), given.get("weight" if op(node) == "aten.linear" else "w")
    problems = list(_matrix(w))
    yield from problems
    if problems:
        return
    if width(w) != width(x):
        yield f"x has {width(x)} channels, w takes {width(w)}"
    yield from _vector("bias", given["bias"], int(value(w).shape[0]))


def qlinear(node: fx.Node) -> Iterator[str]:
    """A linear whose weight format and activation type are known."""
    yield from linear(node)
    yield from _format(node)
    given = arguments(node)
    allowed = ("a16",) if _float_only(given["weight"]) else [a for a in ACTS if a != "a1" or given["weight"] == SIGNS]
    if given["act"] not in allowed:
        yield f"act {given['act']!r} with weight {given['weight']!r}; expected {' or '.join(allowed)}"
    if (given["act"] == "a8s") != (given["x_scale"] is not None):
        yield f"act {given['act']!r} and x_scale: a8s takes one, the others take none"
    yield from _vector("x_scale", given["x_scale"], 1)
    if given["w_scale"] is not None:
        yield from _tables(given["w"], given["w_scale"], given["w_zero"], given["weight"])
    elif given["w_zero"] is not None:
        yield "w_zero without w_scale"


def grid(node: fx.Node) -> Iterator[str]:
    """Codes, scales and zero points of one integer format, all of them weights."""
    given = arguments(node)
    yield from _format(node)
    yield from _tables(given["codes"], given["scale"], given["zero"], given["weight"])


def _tables(codes: fx.Node, scale: fx.Node, zero: fx.Node | None, weight: str) -> Iterator[str]:
    """codes u8 `[N, K]`, scale f16 `[N, KG * numbers]`, zero points u8 or offsets f16 `[N, KG]` where there are."""
    from edgeq.quant.format import WeightFormat

    try:
        fmt = WeightFormat.parse(weight)
    except EdgeqError:
        return  # said already
    if fmt.is_float:
        yield f"{weight} has no codes and scales"
        return
    if (zero is None) != fmt.symmetric:
        yield f"{weight} takes {'no zero points' if fmt.symmetric else 'zero points'}"
    rows, columns = value(codes).shape
    groups = -(-int(columns) // (fmt.group_size or int(columns)))
    yield from _table("codes", codes, torch.uint8, shape(codes))
    yield from _table("scale", scale, torch.float16, [str(rows), str(groups * fmt.meaning.numbers)])
    if zero is not None:
        yield from _table("zero", zero, getattr(torch, fmt.zero_type), [str(rows), str(groups)])


def _table(name: str, node: fx.Node, dtype: torch.dtype, expected: list[str]) -> Iterator[str]:
    if not is_weight(node):
        yield f"{name} %{node.name} is computed from inputs; it must be a weight"
    if value(node).dtype != dtype or shape(node) != expected:
        yield f"{name} %{node.name} is {value(node).dtype} {shape(node)}, expected {dtype} {expected}"


def fake_quant(node: fx.Node) -> Iterator[str]:
    """One scale, a weight; 2 to 8 bits."""
    given = arguments(node)
    yield from _vector("scale", given["scale"], 1)
    if given["bits"] not in BITS:
        yield f"{given['bits']} bits; expected {BITS[0]} to {BITS[-1]}"


def _float_only(weight: str) -> bool:
    """Whether activations must stay in float; not of a text that is no format, which is said elsewhere."""
    from edgeq.quant.format import WeightFormat

    try:
        return WeightFormat.parse(weight).float_only
    except EdgeqError:
        return False


def _format(node: fx.Node) -> Iterator[str]:
    from edgeq.quant.format import WeightFormat

    try:
        WeightFormat.parse(arguments(node)["weight"])
    except EdgeqError as error:
        yield str(error)


def embedding(node: fx.Node) -> Iterator[str]:
    """`aten.embedding` and `edgeq.qembedding`: integer ids into the rows of a weight."""
    given = arguments(node)
    ids, w = (given["indices"], given["weight"]) if op(node) == "aten.embedding" else (given["ids"], given["w"])
    yield from _matrix(w)
    if value(ids).dtype not in (torch.int64, torch.int32):
        yield f"ids %{ids.name} are {value(ids).dtype}; expected integers"


def qembedding(node: fx.Node) -> Iterator[str]:
    """An embedding whose weight format is known."""
    yield from embedding(node)
    yield from _format(node)
    given = arguments(node)
    if given["w_scale"] is not None:
        yield from _tables(given["w"], given["w_scale"], given["w_zero"], given["weight"])
    elif given["w_zero"] is not None:
        yield "w_zero without w_scale"


def layer_norm(node: fx.Node) -> Iterator[str]:
    """Normalises the last axis alone."""
    given = arguments(node)
    if [int(size) for size in given["normalized_shape"]] != [width(given["input"])]:
        yield f"normalises {given['normalized_shape']}; only the last axis ([{width(given['input'])}]) is supported"
    for name in ("weight", "bias"):
        yield from _vector(name, given[name], width(given["input"]))


def arithmetic(node: fx.Node) -> Iterator[str]:
    """add, mul, div: with a number, a weight vector, or an activation of the same shape."""
    given = arguments(node)
    if given.get("alpha", 1) != 1:
        yield f"alpha = {given['alpha']}; expected 1"
    if given.get("rounding_mode") is not None:
        yield "rounds its quotient"
    sides = [side for side in (given["self"], given["other"]) if isinstance(side, fx.Node)]
    for side in sides:
        allowed = [shape(node)[-1:], ["1"], []] if is_weight(side) else []
        if _unpadded(side) != _unpadded(node) and shape(side) not in allowed:
            yield f"%{side.name} {shape(side)} is broadcast to {shape(node)}; only weight vectors may be"


def _unpadded(node: fx.Node) -> list[str]:
    """Shape without leading axes of size 1."""
    return list(dropwhile("1".__eq__, shape(node)))


def last_axis_slice(node: fx.Node) -> Iterator[str]:
    """Activations are sliced on the last axis, without gaps."""
    given = arguments(node)
    axes = value(given["self"]).dim()
    if given["dim"] % axes != axes - 1 or given["step"] != 1:
        yield f"slices axis {given['dim']} with step {given['step']}; only the last axis without gaps is supported"


def gelu(node: fx.Node) -> Iterator[str]:
    """Exact or tanh."""
    if arguments(node)["approximate"] not in ("none", "tanh"):
        yield f"approximate = {arguments(node)['approximate']!r}; expected none or tanh"


def unary(node: fx.Node) -> Iterator[str]:
    """One argument, no conditions."""
    return iter(())


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
    yield from _vector("sinks", given["sinks"], given["heads"])
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
        yield from _vector("probs_scale", scale, 1)
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


def rms_norm(node: fx.Node) -> Iterator[str]:
    """`heads` equal slices; w and b are weights of one slice's size."""
    given = arguments(node)
    size, rest = divmod(width(given["x"]), given["heads"])
    if rest:
        yield f"{width(given['x'])} channels do not divide into {given['heads']} heads"
    yield from _vector("w", given["w"], size)
    yield from _vector("b", given["b"], size)


def rope(node: fx.Node) -> Iterator[str]:
    """inv_freq is a constant vector of at most half a head; positions are integers `[B, S]`."""
    given = arguments(node)
    size, rest = divmod(width(given["x"]), given["heads"])
    if rest:
        yield f"{width(given['x'])} channels do not divide into {given['heads']} heads"
    if not is_weight(given["inv_freq"]) or value(given["inv_freq"]).dim() != 1:
        yield f"inv_freq %{given['inv_freq'].name} must be a constant vector"
    elif 2 * width(given["inv_freq"]) > size:
        yield f"rotates {2 * width(given['inv_freq'])} of {size} channels a head"
    if value(given["pos"]).dim() != 2 or value(given["pos"]).is_floating_point():
        yield f"pos %{given['pos'].name} must be integers [B, S]"


def gated(node: fx.Node) -> Iterator[str]:
    """Equal shapes, a known activation."""
    given = arguments(node)
    if shape(given["gate"]) != shape(given["up"]):
        yield f"gate {shape(given['gate'])} and up {shape(given['up'])} differ in shape"
    if given["act"] not in ACTIVATIONS:
        yield f"act = {given['act']!r}; expected one of {', '.join(ACTIVATIONS)}"


def hadamard(node: fx.Node) -> Iterator[str]:
    """A size that a matrix is known of and that divides the width."""
    given = arguments(node)
    size, channels = int(given["size"]), width(given["x"])
    if size < 1 or channels % size:
        yield f"{channels} channels do not divide into slices of {size}"
    elif block_size(size) != size:
        yield f"no Hadamard matrix of order {size} is known"


def columns(node: fx.Node) -> Iterator[str]:
    """index is a weight, i32 `[count]`; where the graph holds it, each is -1 or a channel of x."""
    given = arguments(node)
    index, channels = given["index"], width(given["x"])
    if not is_weight(index) or value(index).dtype != torch.int32 or value(index).dim() != 1:
        yield f"index %{index.name} must be a weight, integers i32 [count]"
        return
    held = getattr(index.graph.owning_module, str(index.target), None) if index.op == "get_attr" else None
    if isinstance(held, torch.Tensor) and held.device.type != "meta":
        low, high = int(held.min()), int(held.max())
        if low < -1 or high >= channels:
            yield f"index %{index.name} reaches from {low} to {high}; x has {channels} channels"


def im2col(node: fx.Node) -> Iterator[str]:
    """x is channels-last, options are pairs."""
    given = arguments(node)
    if value(given["x"]).dim() != 4:
        yield f"x has rank {value(given['x']).dim()}, expected [B, H, W, C]"
    for name in ("kernel", "stride", "padding", "dilation"):
        if len(given[name]) != 2:
            yield f"{name} = {given[name]}; expected [vertical, horizontal]"


def last_row(node: fx.Node) -> Iterator[str]:
    """n_valid is one number."""
    if shape(arguments(node)["n_valid"]) != ["1"]:
        yield f"n_valid has shape {shape(arguments(node)['n_valid'])}, expected [1]"


def position(node: fx.Node) -> Iterator[str]:
    """Positions that a model counts itself (before caching): integers only."""
    held = value(node)
    if isinstance(held, torch.Tensor) and held.is_floating_point():
        yield "computes floats; only integer positions may be counted"
