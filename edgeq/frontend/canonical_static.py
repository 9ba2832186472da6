"""One spelling for what static graphs hold: several results, casts, repeats, arithmetic, padding, positions."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import fx

from edgeq.frontend.canonical_indexing import spell_index, spell_roll, spell_write
from edgeq.frontend.canonical_products import spell_product
from edgeq.frontend.fold_constants import constant_value
from edgeq.frontend.match import base, is_number, rank, shape, value
from edgeq.frontend.rewrite import Rule, call, replace

aten = torch.ops.aten
CASTS = {"to", "_to_copy", "type_as"}
FIRST_RESULT = {"max_pool2d_with_indices", "_native_batch_norm_legit_no_training", "native_layer_norm"}


def one_result(node: fx.Node) -> bool:
    """getitem of split, chunk, unbind -> slice or select; of ops that also return statistics -> the op alone."""
    if base(node) != "getitem":
        return False
    source, index = node.args
    kind = base(source)
    if kind in ("split", "split_with_sizes", "chunk"):
        return _part(node, source, index)
    if kind == "unbind":
        axis = source.args[1] if len(source.args) > 1 else source.kwargs.get("dim", 0)
        return replace(node, call(node, aten.select.int, source.args[0], axis % rank(source.args[0]), index))
    if kind in FIRST_RESULT and index == 0:
        return replace(node, _only(node, source))
    if kind in ("max", "min") and len(source.args) > 1 and isinstance(source.args[1], int):
        x, axis, keep = source.args[0], source.args[1], bool(source.args[2]) if len(source.args) > 2 else False
        if index == 0:
            best = aten.amax.default if kind == "max" else aten.amin.default
            return replace(node, call(node, best, x, [axis], keep))
        return kind == "max" and replace(node, call(node, aten.argmax.default, x, axis, keep))
    return False


def _part(node: fx.Node, source: fx.Node, index: int) -> bool:
    x, axis = source.args[0], source.args[2] if len(source.args) > 2 else source.kwargs.get("dim", 0)
    axis = axis % rank(x)
    sizes = [int(part.shape[axis]) for part in source.meta["val"]]
    first = sum(sizes[:index])
    return replace(node, call(node, aten.slice.Tensor, x, axis, first, first + sizes[index]))


def _only(node: fx.Node, source: fx.Node) -> fx.Node:
    """The op's plain form."""
    args: Any = source.args
    if base(source) == "max_pool2d_with_indices":
        return call(node, aten.max_pool2d.default, *args)
    if base(source) == "native_layer_norm":
        return call(node, aten.layer_norm.default, *args)
    x, weight, bias, mean, var, momentum, eps = args
    return call(node, aten.batch_norm.default, x, weight, bias, mean, var, False, momentum, eps, False)


def spell_cast(node: fx.Node) -> bool:
    """Every cast -> to(dtype); of what has that type already: nothing."""
    if base(node) not in CASTS:
        return False
    if value(node).dtype == value(node.args[0]).dtype:
        return replace(node, node.args[0])
    if node.target is aten.to.dtype and len(node.args) == 2 and not node.kwargs:
        return False
    return replace(node, call(node, aten.to.dtype, node.args[0], value(node).dtype))


def spell_expand(node: fx.Node) -> bool:
    """expand_as, repeat, tile, repeat_interleave, broadcast_to -> expand, with reshapes where sizes are not 1."""
    kind, x = base(node), node.args[0] if node.args else None
    if kind in ("expand_as", "broadcast_to"):
        return replace(node, call(node, aten.expand.default, x, list(shape(node))))
    if kind == "expand" and list(node.args[1]) != list(shape(node)):
        return replace(node, call(node, aten.expand.default, x, list(shape(node))))
    if kind in ("repeat", "tile"):
        return _repeat(node, x)
    if node.target is aten.repeat_interleave.self_int and len(node.args) > 2:
        axis, count = node.args[2] % rank(x), node.args[1]
        size = shape(x)
        inner = call(node, aten.unsqueeze.default, x, axis + 1)
        inner = call(node, aten.expand.default, inner, [*size[: axis + 1], count, *size[axis + 1 :]])
        return replace(node, call(node, aten.reshape.default, inner, list(shape(node))))
    return False


def _repeat(node: fx.Node, x: fx.Node) -> bool:
    times = [1] * (rank(x) - len(node.args[1])) + list(node.args[1])
    size = [1] * (len(times) - rank(x)) + list(shape(x))
    if all(n == 1 or t == 1 for n, t in zip(size, times, strict=True)):
        return replace(node, call(node, aten.expand.default, x, list(shape(node))))
    spread = call(node, aten.reshape.default, x, [k for n in size for k in (1, n)])
    spread = call(node, aten.expand.default, spread, [k for n, t in zip(size, times, strict=True) for k in (t, n)])
    return replace(node, call(node, aten.reshape.default, spread, list(shape(node))))


LOGIC = {
    "__or__": aten.logical_or.default, "bitwise_or": aten.logical_or.default, "__and__": aten.logical_and.default,
    "bitwise_and": aten.logical_and.default, "bitwise_not": aten.logical_not.default,
}  # fmt: skip


def spell_arithmetic(node: fx.Node) -> bool:
    """Powers, minimum, maximum, norms, logic of booleans, joining, in the ops that everything else uses."""
    kind, args = base(node), node.args
    if kind in LOGIC and value(node).dtype == torch.bool:
        return replace(node, call(node, LOGIC[kind], *args))
    if kind in ("concat", "concatenate"):
        return replace(node, call(node, aten.cat.default, *args))
    if kind == "pow" and is_number(args[1]) and args[1] in (0.5, -0.5):
        return replace(node, call(node, aten.sqrt.default if args[1] > 0 else aten.rsqrt.default, args[0]))
    if kind in ("min", "max") and len(args) == 2 and isinstance(args[1], fx.Node):
        return replace(node, call(node, aten.minimum.default if kind == "min" else aten.maximum.default, *args))
    if kind == "_softmax":
        return replace(node, call(node, aten.softmax.int, args[0], args[1]))
    if kind in ("linalg_vector_norm", "norm") and len(args) > 2 and args[1] == 2:
        square = call(node, aten.mul.Tensor, args[0], args[0])
        return replace(node, call(node, aten.sqrt.default, call(node, aten.sum.dim_IntList, square, *args[2:4])))
    return False


def spell_pad(node: fx.Node) -> bool:
    """pad with a constant -> constant_pad_nd; resampling to the same size -> nothing."""
    if base(node) == "upsample_linear1d" and shape(node) == shape(node.args[0]):
        return replace(node, node.args[0])  # the same points: also with align_corners
    if base(node) in ("pad", "constant_pad_nd") and not any(node.args[1]):
        return replace(node, node.args[0])
    if base(node) != "pad" or (len(node.args) > 2 and node.args[2] != "constant"):
        return False
    fill = node.args[3] if len(node.args) > 3 else None
    return replace(node, call(node, aten.constant_pad_nd.default, node.args[0], list(node.args[1]), fill or 0.0))


def spell_embedding(node: fx.Node) -> bool:
    """Constant ids: adjacent ones -> a slice of the weight; one id for all -> a row, broadcast."""
    if base(node) != "embedding":
        return False
    weight, ids = node.args[:2]
    if base(ids) == "expand" and rank(ids) == rank(ids.args[0]):
        rows = call(node, aten.embedding.default, weight, ids.args[0])
        return replace(node, call(node, aten.expand.default, rows, list(shape(node))))
    constant = constant_value(ids)
    if constant is None or prod(constant.shape[:-1]) != 1 or constant.numel() == 0:
        return False
    first, flat = int(constant.min()), constant.flatten()
    if not torch.equal(flat, torch.arange(len(flat)) + first):
        return False
    rows = call(node, aten.slice.Tensor, weight, 0, first, first + len(flat))
    return replace(node, call(node, aten.reshape.default, rows, list(shape(node))))


SPELLING: list[Rule] = [
    one_result, spell_cast, spell_expand, spell_product, spell_index, spell_write, spell_roll, spell_arithmetic,
    spell_pad, spell_embedding,
]  # fmt: skip
