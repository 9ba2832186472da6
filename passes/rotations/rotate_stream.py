"""R1: the residual stream in another basis: `RMSNorm(x R) = RMSNorm(x) R` for an orthogonal R and without a gamma."""

from __future__ import annotations

from collections.abc import Iterable

from torch import fx

from edgeq.ir.graph import arguments, insert, op, replace, value
from edgeq.passes.folds.channels import reads, stored
from edgeq.passes.folds.folding import add_bias, apply, replace_argument
from edgeq.passes.pass_ import Site
from edgeq.passes.rotations.residual_stream import Stream, streams
from edgeq.passes.rotations.rotation import Rotation, random_rotation, rotate_reader, rotate_writer


def rotate_streams(gm: fx.GraphModule, seed: int) -> tuple[list[Site], list[Site]]:
    """Rotate every residual stream that can be: sites changed, sites declined."""
    changed: list[Site] = []
    declined: list[Site] = []
    for stream in streams(gm):
        where = f"residual of {stream.width} channels"
        if stream.problems:
            declined.append(Site(where, stream.reason))
        else:
            changed.append(Site(where, _rotate(gm, stream, seed)))
    return changed, declined


def _rotate(gm: fx.GraphModule, stream: Stream, seed: int) -> str:
    tied = _tied(stream)
    if op(stream.norms[0]) == "aten.layer_norm":
        _centre(stream)
    readers = [linear for norm in stream.norms for linear in _strip(gm, norm)] + stream.linears
    rotation = random_rotation(gm, stream.nodes[0], stream.width, seed)
    for linear in readers:
        rotate_reader(linear, rotation)
    for node in stream.writers:
        _rotate_source(node, rotation)
    for node, constant in stream.constants:
        with node.graph.inserting_before(node):
            node.replace_input_with(constant, rotation.channels(constant))
    counts = f"{len(stream.writers)} writers, {len(stream.norms)} norms, {len(readers)} readers"
    twice = "".join(f"; {name}, also the head, becomes two: {count} more weights" for name, count in tied)
    return f"blocks of {rotation.size}: {counts}{twice}"


def _rotate_source(node: fx.Node, rotation: Rotation) -> None:
    if op(node) == "aten.linear":
        rotate_writer(node, rotation)
        return
    with node.graph.inserting_before(node):
        replace_argument(node, "weight", rotation.channels(node.args[0]))  # type: ignore[arg-type]


def _tied(stream: Stream) -> list[tuple[str, int]]:
    """(name, numbers) of tensors that an embedding of the stream and a linear that reads it share."""
    embeddings = [node.args[0] for node in stream.writers if op(node) == "aten.embedding"]
    readers = [linear for norm in stream.norms for linear in reads(norm).linears] + stream.linears
    read = set(_stored(linear.args[1] for linear in readers))
    return [(name, count) for name, count in dict.fromkeys(_stored(embeddings)) if (name, count) in read]


def _stored(weights: Iterable[object]) -> list[tuple[str, int]]:
    return [(str(leaf.target), int(value(leaf).numel())) for w in weights for leaf in stored(w)]  # type: ignore[arg-type]


def _centre(stream: Stream) -> None:
    """Take the mean over channels out of all that writes the stream: a layer norm of it is an RMS norm then."""
    for node in stream.writers:
        if op(node) == "aten.linear":
            _without_mean(node, "weight", 0)
            _without_mean(node, "bias", 0)
        else:
            _without_mean(node, "weight", -1)
    for position, (node, constant) in enumerate(stream.constants):
        with node.graph.inserting_before(node):
            mean = insert(node.graph, "aten.mean.dim", constant, [-1], True, like=constant)
            centred = insert(node.graph, "aten.sub.Tensor", constant, mean, like=constant)
        node.replace_input_with(constant, centred)
        stream.constants[position] = node, centred


def _without_mean(node: fx.Node, name: str, axis: int) -> None:
    weight = arguments(node)[name]
    if weight is None:
        return
    with node.graph.inserting_before(node):
        mean = insert(node.graph, "aten.mean.dim", weight, [axis], True, like=weight)
    apply(node, name, "aten.sub.Tensor", mean)


def _strip(gm: fx.GraphModule, norm: fx.Node) -> list[fx.Node]:
    """Move gamma and beta of a norm into the linears that read it, which are returned; it becomes a plain RMS norm."""
    given, linears = arguments(norm), reads(norm).linears
    gamma, beta = given.get("weight", given.get("w")), given.get("bias", given.get("b"))
    for linear in linears:
        if beta is not None:
            _absorb_shift(gm, linear, beta)
        if gamma is not None:
            _absorb_scale(linear, gamma, float(given.get("offset", 0.0)))
    with gm.graph.inserting_before(norm):
        plain = insert(gm.graph, "edgeq.rms_norm", norm.args[0], eps=float(given["eps"]), like=norm)
    replace(norm, plain)
    return linears


def _absorb_shift(gm: fx.GraphModule, linear: fx.Node, beta: fx.Node) -> None:
    """bias += W beta, with the weight as it is before gamma."""
    weight = arguments(linear)["weight"]
    with gm.graph.inserting_before(linear):
        product = insert(gm.graph, "aten.mul.Tensor", weight, beta, like=weight)
        term = insert(gm.graph, "aten.sum.dim_IntList", product, [1], like=weight)
    add_bias(gm, linear, "bias", term)


def _absorb_scale(linear: fx.Node, gamma: fx.Node, offset: float) -> None:
    with linear.graph.inserting_before(linear):
        gain = insert(linear.graph, "aten.add.Tensor", gamma, offset, like=gamma) if offset else gamma
    apply(linear, "weight", "aten.mul.Tensor", gain)
