"""R4: the product that the second linear of a feed-forward part reads, rotated when the model runs."""

from __future__ import annotations

from torch import fx

from edgeq.ir.graph import calls, insert, op, site
from edgeq.ir.hadamard import block_size
from edgeq.passes.folds.channels import Reads, reads
from edgeq.passes.pass_ import Site
from edgeq.passes.rotations.rotation import Rotation, rotate_reader, width

ACTIVATIONS = ("aten.gelu", "aten.silu", "aten.relu", "edgeq.quick_gelu")
LANES = 16  # the kernel's butterflies work on whole vectors


def rotate_products(gm: fx.GraphModule, seed: int) -> tuple[list[Site], list[Site]]:
    """Rotate what linears alone read of gated activations and of activations of linears; no signs, so no seed."""
    changed: list[Site] = []
    declined: list[Site] = []
    for node in calls(gm, "edgeq.gated", *ACTIVATIONS):
        if op(node) != "edgeq.gated" and op(node.args[0]) != "aten.linear":
            continue
        read = reads(node)
        size = block_size(width(node), LANES)
        reason = _why_not(node, read, size)
        if reason:
            declined.append(Site(site(node), reason))
        elif read.linears:
            _rotate(node, read.linears, size)
            changed.append(Site(site(node), f"rotated at run time in blocks of {size}"))
    return changed, declined


def _why_not(node: fx.Node, read: Reads, size: int) -> str:
    """The reason why linears cannot take it rotated; "" also where none reads it."""
    if any(op(user) == "edgeq.hadamard" for user in node.users):
        return "it is rotated already"
    if not read.linears:
        return ""
    if read.others or read.added:
        return read.others[0][1] if read.others else "something is added to it"
    return "" if size else f"{width(node)} channels have no factor {LANES}"


def _rotate(node: fx.Node, linears: list[fx.Node], size: int) -> None:
    """Both halves at once: without either one the other is a wrong model."""
    with node.graph.inserting_after(node):
        rotated = insert(node.graph, "edgeq.hadamard", node, size=size, like=node)
    node.replace_all_uses_with(rotated, delete_user_cb=lambda user: user is not rotated)
    for linear in linears:
        rotate_reader(linear, Rotation(size))
