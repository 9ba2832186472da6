"""Glue: the ATen ops that static graphs may hold besides the ops we have kernels for; TVM's importer compiles them."""

from __future__ import annotations

GLUE_OPS = frozenset(
    f"aten.{name}"
    for name in (
        # layout
        "reshape", "permute", "transpose", "t", "slice", "select", "index_select", "cat", "stack", "split", "chunk",
        "split_with_sizes", "unbind", "squeeze", "unsqueeze", "expand", "repeat", "constant_pad_nd", "pad", "flip",
        "roll", "index", "gather", "select_scatter", "slice_scatter",
        # element by element
        "add", "sub", "rsub", "mul", "div", "neg", "abs", "pow", "sqrt", "rsqrt", "reciprocal", "exp", "log", "sin",
        "cos", "tanh", "sigmoid", "erf", "gelu", "silu", "relu", "clamp", "clamp_min", "maximum", "minimum", "where",
        "eq", "ne", "lt", "le", "gt", "ge", "logical_not", "logical_and", "logical_or", "bitwise_not", "to",
        "masked_fill", "hardtanh", "hardsigmoid", "hardswish", "floor", "round", "ones_like", "zeros_like", "full_like",
        # reductions and products
        "sum", "mean", "amax", "amin", "argmax", "softmax", "log_softmax", "matmul", "bmm", "einsum", "cumsum",
        "group_norm", "linalg_vector_norm",
        # vision
        "conv1d", "conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d",
        "adaptive_avg_pool1d", "avg_pool1d", "upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d",
        "grid_sampler", "pixel_shuffle",
    )
)  # fmt: skip
