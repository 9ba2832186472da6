"""Convolutions -> patches and a linear over channels-last images; pooling in ops that keep channels last.

`conv2d(x, w)` of `w [O, C, kh, kw]` is `linear(im2col(x), w')`, `w' = reshape(permute(w, [0, 2, 3, 1]), [O, kh*kw*C])`.
Grouped convolutions stay `aten.conv2d`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from edgeq.frontend.match import base, rank, shape
from edgeq.frontend.rewrite import call, replace
from edgeq.ir.graph import arguments, is_weight

aten, eq = torch.ops.aten, torch.ops.edgeq
FIRST, LAST = [0, 3, 1, 2], [0, 2, 3, 1]
LOWEST = float(torch.finfo(torch.float32).min)


def raise_convolution(node: fx.Node) -> bool:
    """conv1d, conv2d, or `convolution` that is neither grouped nor transposed; x `[B, C, H, W]` or `[B, C, L]`."""
    kind = base(node)
    if kind not in ("conv1d", "conv2d", "convolution"):
        return False
    given = arguments(node)
    x, w, bias = given["input"], given["weight"], given["bias"]
    axes = rank(w) - 2
    if given["groups"] != 1 or given.get("transposed") or not is_weight(w) or rank(x) != axes + 2 or axes > 2:
        return False
    stride, dilation = (_pair(given[name], axes, 1) for name in ("stride", "dilation"))
    kernel = _pair(list(shape(w)[2:]), axes, 1)
    found = _padding(given["padding"], kernel, dilation, stride, axes)
    if found is None:
        return False
    image = _channels_last(node, x)
    y = _product(node, image, w, bias, (kernel, stride, found, dilation))
    return replace(node, _channels_first(node, y))


def _pair(given: Any, axes: int, missing: int) -> list[int]:
    values = [int(n) for n in (given if isinstance(given, (list, tuple)) else [given])]
    values = values * axes if len(values) == 1 else values
    return values if axes == 2 else [missing, *values]


def _padding(given: Any, kernel: list[int], dilation: list[int], stride: list[int], axes: int) -> list[int] | None:
    """[vertical, horizontal]; None for `same` padding that differs between sides."""
    if given == "valid":
        return [0, 0]
    if given == "same":
        whole = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [n // 2 for n in whole] if stride == [1, 1] and not any(n % 2 for n in whole) else None
    return _pair(given, axes, 0)


def _channels_last(node: fx.Node, x: fx.Node) -> fx.Node:
    """`[B, C, L]` or `[B, C, H, W]` -> `[B, H, W, C]`, H = 1 for the former."""
    if rank(x) == 4:
        return call(node, aten.permute.default, x, LAST)
    batch, channels, length = shape(x)
    rows = call(node, aten.permute.default, x, [0, 2, 1])
    return call(node, aten.reshape.default, rows, [batch, 1, length, channels])


def _channels_first(node: fx.Node, y: fx.Node) -> fx.Node:
    if rank(node) == 4:
        return call(node, aten.permute.default, y, FIRST)
    batch, channels, length = shape(node)
    rows = call(node, aten.reshape.default, y, [batch, length, channels])
    return call(node, aten.permute.default, rows, [0, 2, 1])


def _product(node: fx.Node, image: fx.Node, w: fx.Node, bias: fx.Node | None, window: tuple) -> fx.Node:
    kernel, stride, padding, _ = window
    if kernel != [1, 1] or stride != [1, 1] or padding != [0, 0]:
        options = dict(zip(("kernel", "stride", "padding", "dilation"), window, strict=True))
        image = call(node, eq.im2col.default, image, **options)
    order = [0, *range(2, rank(w)), 1]
    rows = call(node, aten.permute.default, w, order)
    rows = call(node, aten.reshape.default, rows, [int(shape(w)[0]), int(shape(image)[-1])])
    return call(node, aten.linear.default, image, rows, *([] if bias is None else [bias]))


def raise_transposed(node: fx.Node) -> bool:
    """conv_transpose2d whose stride is its kernel -> a linear that gives every pixel its block, and a shuffle."""
    if base(node) != "conv_transpose2d":
        return False
    given = arguments(node)
    w, kernel = given["weight"], list(shape(given["weight"])[2:])
    plain = not any(given["padding"]) and not any(given["output_padding"]) and given["groups"] == 1
    if _pair(given["stride"], 2, 1) != kernel or not plain or not is_weight(w) or rank(given["input"]) != 4:
        return False
    (kh, kw), (inputs, outputs) = kernel, shape(w)[:2]
    batch, _, height, width = shape(given["input"])
    image = call(node, aten.permute.default, given["input"], LAST)
    rows = call(node, aten.permute.default, w, [2, 3, 1, 0])
    rows = call(node, aten.reshape.default, rows, [kh * kw * outputs, inputs])
    bias = [] if given["bias"] is None else [call(node, aten.cat.default, [given["bias"]] * (kh * kw), 0)]
    y = call(node, aten.linear.default, image, rows, *bias)
    y = call(node, aten.reshape.default, y, [batch, height, width, kh, kw, outputs])
    y = call(node, aten.permute.default, y, [0, 1, 3, 2, 4, 5])
    y = call(node, aten.reshape.default, y, [batch, height * kh, width * kw, outputs])
    return replace(node, call(node, aten.permute.default, y, FIRST))


def raise_pooling(node: fx.Node) -> bool:
    """Global average pooling -> mean; max pooling -> maxima of shifted slices, rows first, then columns."""
    kind = base(node)
    if kind == "adaptive_avg_pool2d" and list(node.args[1]) == [1, 1]:
        return replace(node, call(node, aten.mean.dim, node.args[0], [2, 3], True))
    if kind != "max_pool2d" or rank(node) != 4:
        return False
    given = arguments(node)
    kernel = _pair(given["kernel_size"], 2, 1)
    stride = _pair(given["stride"] or kernel, 2, 1)
    padding, dilation = _pair(given["padding"], 2, 0), _pair(given["dilation"], 2, 1)
    if given["ceil_mode"]:
        return False
    x = call(node, aten.permute.default, given["self"], LAST)
    if any(padding):
        sides = [0, 0, padding[1], padding[1], padding[0], padding[0]]
        x = call(node, aten.constant_pad_nd.default, x, sides, LOWEST)
    for axis in (0, 1):
        window = (kernel[axis], stride[axis], dilation[axis])
        x = _running_maximum(node, x, axis + 1, window, int(shape(node)[axis + 2]))
    return replace(node, call(node, aten.permute.default, x, FIRST))


def _running_maximum(like: fx.Node, x: fx.Node, axis: int, window: tuple[int, int, int], count: int) -> fx.Node:
    kernel, stride, dilation = window
    best: fx.Node | None = None
    for k in range(kernel):
        first = k * dilation
        part = call(like, aten.slice.Tensor, x, axis, first, first + (count - 1) * stride + 1, stride)
        best = part if best is None else call(like, aten.maximum.default, best, part)
    assert best is not None
    return best
