"""Where channels of an activation may be shifted and scaled without changing the model, found by structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, fx

from edgeq.ir.graph import arguments, calls, op, site, value
from edgeq.passes.folds.channels import Reads, reads, stored, stored_names
from edgeq.passes.pass_ import Site

NORMS = ("edgeq.rms_norm", "aten.layer_norm")
KINDS = ("norm", "value", "gated", "relu")
SUMMED = ("edgeq.attention",)


@dataclass(frozen=True)
class FoldPoint:
    """An activation between what can take `X' = (X - shift) / scale` and linears that can undo it.

    Attributes:
        kind: `norm` (to linears), `value` (v -> attention -> o), `gated` (up -> gated -> down), `relu` (fc1 -> fc2).
        activation: X `[..., K]`.
        producer: the norm, or the linear whose rows are divided.
        consumers: linears that read X.
        added: additions of a constant between X and a consumer (position embeddings), scaled along.
        repeat: query heads that share a value head; the scale has K / repeat values.
        no_shift: why no shift can be folded here, "" when it can.
        key: the stored weights concerned, the same in every entry of a model.
    """

    kind: str
    activation: fx.Node
    producer: fx.Node
    consumers: tuple[fx.Node, ...]
    added: tuple[fx.Node, ...] = ()
    kv_heads: int = 1
    repeat: int = 1
    no_shift: str = ""
    key: str = ""

    @property
    def module(self) -> str:
        """The Hugging Face module of the activation."""
        return site(self.activation)

    @property
    def channels(self) -> int:
        """K, the width of the activation."""
        return int(value(self.activation).shape[-1])

    def share(self, statistic: Tensor, how: str = "max") -> Tensor:
        """`[K]` -> `[K / repeat]`: one number for the query heads that share a value head; how: max, min or mean."""
        if self.repeat == 1:
            return statistic
        heads = statistic.reshape(self.kv_heads, self.repeat, -1)
        return {"max": heads.amax, "min": heads.amin, "mean": heads.mean}[how](1).flatten()

    def spread(self, scale: Tensor) -> Tensor:
        """`[K / repeat]` -> `[K]`, each value head's for all its query heads."""
        if self.repeat == 1:
            return scale
        return scale.reshape(self.kv_heads, 1, -1).expand(-1, self.repeat, -1).flatten()


def fold_points(gm: fx.GraphModule, kinds: tuple[str, ...] = KINDS) -> tuple[list[FoldPoint], list[Site]]:
    """Fold points in the graph's order, and the places that look like one, each with the reason why it is none.

    Call `folding.part_norms` first where norms are residuals too (post-LN).
    """
    points: list[FoldPoint] = []
    declined: list[Site] = []
    for node in calls(gm, *NORMS, *SUMMED, "edgeq.gated", "aten.relu"):
        found = _point(node)
        if isinstance(found, FoldPoint) and found.kind in kinds:
            points.append(found)
        elif isinstance(found, Site):
            declined.append(found)
    return points, declined


def _point(node: fx.Node) -> FoldPoint | Site | None:
    """The fold point at a node, why there is none, or None where linears do not read it at all."""
    read = reads(node)
    if not read.linears:
        return None
    producer = _producer(node)
    reason = _why_not(node, producer, read)
    if reason:
        return Site(site(node), reason)
    assert isinstance(producer, fx.Node)
    given = arguments(node)
    heads, kv_heads = (given["heads"], given["kv_heads"]) if op(node) in SUMMED else (1, 1)
    return FoldPoint(
        _kind(node), node, producer, tuple(read.linears), tuple(read.added), kv_heads, heads // kv_heads,
        _no_shift(node, read), _key(_kind(node), producer, read.linears),
    )  # fmt: skip


def _kind(node: fx.Node) -> str:
    if op(node) in NORMS:
        return "norm"
    return {"edgeq.gated": "gated", "aten.relu": "relu"}.get(op(node), "value")


def _producer(node: fx.Node) -> fx.Node | str:
    """What takes the division, or why nothing can."""
    if op(node) in NORMS:
        return node if arguments(node).get("heads", 1) == 1 else "it normalises heads"
    names = {"edgeq.gated": ("up", "its second factor"), "aten.relu": ("self", "what it activates")}
    argument, words = names.get(op(node), ("v", "its values"))
    made = arguments(node)[argument]
    if op(made) != "aten.linear" or len(made.users) != 1:
        return f"{words} is no linear of its own" if argument != "v" else f"{words} are no linear of their own"
    return made


def _why_not(node: fx.Node, producer: fx.Node | str, read: Reads) -> str:
    if isinstance(producer, str):
        return producer
    if read.others:
        return read.others[0][1]
    weights = [linear.args[1] for linear in read.linears]
    if any(_embeds(leaf) for weight in weights for leaf in stored(weight)):
        return "its weight is also the token embedding"
    return ""


def _embeds(weight: fx.Node) -> bool:
    return any(op(user) == "aten.embedding" for user in weight.users)


def _no_shift(node: fx.Node, read: Reads) -> str:
    if read.padded:
        return "zeros are padded in before a linear reads it"
    if op(node) == "edgeq.gated":
        return "a product has no additive part"
    if op(node) == "aten.relu":
        return "ReLU clips at zero"
    if op(node) in SUMMED and arguments(node)["sinks"] is not None:
        return "with sinks the rows of the attention do not sum to 1"
    return ""


def _key(kind: str, producer: fx.Node, linears: list[fx.Node]) -> str:
    names = {name for node in (producer, *linears) for name in _weights(node)}
    return f"{kind}: " + " ".join(sorted(names))


def _weights(node: fx.Node) -> Iterator[str]:
    given = arguments(node)
    for name in ("weight", "w", "bias", "b"):
        if isinstance(given.get(name), fx.Node):
            yield from stored_names(given[name])
