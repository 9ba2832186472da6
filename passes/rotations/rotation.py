"""Weights rotated by `R = diag(signs) H / sqrt(size)`, block-diagonal over `size` channels, as weight expressions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import fx

from edgeq.ir.graph import insert, value
from edgeq.ir.hadamard import block_size
from edgeq.passes.folds.folding import replace_argument, table


@dataclass(frozen=True)
class Rotation:
    """R over the last axis: `size` channels a block; `signs` a stored table f32 `[width]` of -1 and 1, or none."""

    size: int
    signs: fx.Node | None = None

    def channels(self, weight: fx.Node) -> fx.Node:
        """`W R`, at the insertion point: for a weight `[..., width]` that an activation `x R` meets or that is one."""
        if self.signs is not None:
            weight = insert(weight.graph, "aten.mul.Tensor", weight, self.signs, like=weight)
        return insert(weight.graph, "edgeq.hadamard", weight, size=self.size, like=weight)

    def rows(self, weight: fx.Node) -> fx.Node:
        """`R^T W`, at the insertion point: for the weight `[width, K]` of a linear whose result becomes `y R`."""
        turned = insert(weight.graph, "aten.t", weight, like=weight)
        return insert(weight.graph, "aten.t", self.channels(turned), like=weight)


def random_rotation(gm: fx.GraphModule, like: fx.Node, width: int, seed: int, copies: int = 1) -> Rotation:
    """A rotation of `width` channels with random signs, the largest blocks that are known; the same for equal seeds.

    copies: how many times the signs are repeated, for tensors of several heads.
    """
    signs = _signs(width, seed).repeat(copies)
    return Rotation(block_size(width), table(gm, signs, like, "signs"))


def _signs(width: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 2, (width,), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1.0


def rotate_reader(linear: fx.Node, rotation: Rotation) -> None:
    """The linear takes `x R` in place of x."""
    with linear.graph.inserting_before(linear):
        replace_argument(linear, "weight", rotation.channels(linear.args[1]))  # type: ignore[arg-type]


def rotate_writer(linear: fx.Node, rotation: Rotation) -> None:
    """The linear gives `y R` in place of y."""
    with linear.graph.inserting_before(linear):
        replace_argument(linear, "weight", rotation.rows(linear.args[1]))  # type: ignore[arg-type]
        if len(linear.args) > 2 and linear.args[2] is not None:
            replace_argument(linear, "bias", rotation.channels(linear.args[2]))  # type: ignore[arg-type]


def width(node: fx.Node) -> int:
    """Size of the last axis."""
    return int(value(node).shape[-1])
