"""Conversions that TVM's importer lacks, or whose kernels are not plain loop nests; all others are TVM's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import fx
from tvm import relax

from edgeq.lower.glue.convert_elementwise import binary, clamp, divide, masked_fill, where
from edgeq.lower.glue.convert_layout import (
    cat,
    grid_sampler,
    index,
    index_select,
    nearest,
    pixel_shuffle,
    select,
    select_scatter,
    slice_scatter,
    transpose2,
)
from edgeq.lower.glue.convert_sums import adaptive_average, argmax, cumsum, extreme, group_norm

Convert = Callable[[Any, fx.Node], Any]

CONVERT: Mapping[str, Convert] = {
    "select": select, "cat": cat, "index_select": index_select, "index": index,
    "add": binary(relax.op.add), "sub": binary(relax.op.subtract), "rsub": binary(relax.op.subtract, swapped=True),
    "mul": binary(relax.op.multiply), "div": divide, "pow": binary(relax.op.power), "clamp": clamp, "clamp_min": clamp,
    "maximum": binary(relax.op.maximum), "minimum": binary(relax.op.minimum), "clamp_max": clamp,
    "eq": binary(relax.op.equal, common=True), "ne": binary(relax.op.not_equal, common=True),
    "lt": binary(relax.op.less, common=True), "le": binary(relax.op.less_equal, common=True),
    "gt": binary(relax.op.greater, common=True), "ge": binary(relax.op.greater_equal, common=True),
    "logical_and": binary(relax.op.logical_and), "logical_or": binary(relax.op.logical_or), "hardtanh": clamp,
    "masked_fill": masked_fill, "upsample_nearest2d": nearest,
    "where": where, "amax": extreme(relax.op.max), "amin": extreme(relax.op.min), "t": transpose2,
    "argmax": argmax, "cumsum": cumsum, "group_norm": group_norm, "adaptive_avg_pool2d": adaptive_average,
    "adaptive_avg_pool1d": adaptive_average, "slice_scatter": slice_scatter, "select_scatter": select_scatter,
    "pixel_shuffle": pixel_shuffle, "grid_sampler": grid_sampler, "grid_sampler_2d": grid_sampler,
}  # fmt: skip
