"""Raising of static graphs: every size is a number, the batch may be larger than one, images and other rows may come.

Order: one spelling, constants computed, linears, norms and activations, attention, convolutions; then layout ops are
moved and merged until nothing changes, which is where scales and shifts meet the linears that they fold into.
"""

from __future__ import annotations

from torch import fx

from edgeq.frontend import raising_activation as activation
from edgeq.frontend import raising_attention as attention
from edgeq.frontend import raising_attention_static as attention_static
from edgeq.frontend import raising_batch_norm as batch_norm
from edgeq.frontend import raising_convolution as convolution
from edgeq.frontend import raising_layout as layout
from edgeq.frontend import raising_linear as linear
from edgeq.frontend import raising_matmul as matmul
from edgeq.frontend import raising_norm as norm
from edgeq.frontend import raising_packed as packed
from edgeq.frontend.canonical import clean, drop_identity
from edgeq.frontend.canonical_static import SPELLING
from edgeq.frontend.fold_constants import fold_constants
from edgeq.frontend.rewrite import Rule, apply, sweep
from edgeq.frontend.sinking import sink
from edgeq.frontend.weight_linears import spell_weight_linear

STAGES: list[list[Rule]] = [
    [linear.raise_addmm, linear.raise_wide_matmul, linear.raise_bias],
    [norm.raise_rms_norm, norm.raise_aten_rms_norm, norm.raise_rms_weight],
    [norm.raise_layer_norm],
    [activation.raise_gelu],
    [attention.raise_sdpa, attention.raise_written_out, attention_static.raise_merged_heads],
    [attention.mask_from_bias, attention_static.mask_to_bias, attention.flatten_attention],
    [attention_static.plain_pad, attention_static.raise_grid_bias],
    [batch_norm.raise_batch_norm],
    [convolution.raise_convolution, convolution.raise_transposed, convolution.raise_pooling],
]
MOVING: list[Rule] = [
    drop_identity, layout.spell_layout, packed.split_packed, layout.simplify, layout.drop_expand, sink,
    batch_norm.fold_scale, batch_norm.fold_shift, batch_norm.fold_grouped, matmul.columns_last, matmul.stacked_weights,
]  # fmt: skip
LATE: list[Rule] = [
    layout.linear_of_rows, layout.norm_of_rows, layout.simplify, drop_identity, activation.raise_square,
    activation.raise_gated, attention.fold_query_scale, attention_static.fold_query_scale,
]  # fmt: skip


def raise_static(gm: fx.GraphModule) -> None:
    """Canonicalise and raise to the dialect of static graphs, in place."""
    clean(gm)
    apply(gm, SPELLING)
    fold_constants(gm)
    apply(gm, SPELLING)
    for rules in STAGES:
        apply(gm, rules)
    fold_constants(gm)
    apply(gm, MOVING, rounds=1000)
    apply(gm, LATE, rounds=100)
    apply(gm, [spell_weight_linear])
    fold_constants(gm)
    sweep(gm)
    gm.graph.lint()
    gm.recompile()
