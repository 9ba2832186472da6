"""Where queries meet keys: the rows of linears behind an attention's scores, and what stands between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from edgeq.ir.graph import arguments, calls, op, site, value
from edgeq.passes.folds.channels import stored
from edgeq.passes.pass_ import Site


@dataclass(frozen=True)
class Projection:
    """Rows `start:stop` of a linear; `node` is where they are an activation `[..., stop - start]`."""

    linear: fx.Node
    node: fx.Node
    start: int
    stop: int


@dataclass(frozen=True)
class KeySite:
    """Query and key projections of an attention. A sign of a channel of both leaves its scores as they are.

    Attributes:
        rotated: pairs of channels of a head that a rotary embedding mixes: they must have one sign.
        key: the stored weights concerned, the same in every entry of a model.
    """

    attention: fx.Node
    queries: Projection
    keys: Projection
    heads: int
    kv_heads: int
    rotated: int
    key: str

    def for_queries(self, signs: Tensor) -> Tensor:
        """Signs of the keys' channels `[kv_heads*D]` -> of the queries' `[heads*D]`."""
        return signs.reshape(self.kv_heads, 1, -1).expand(-1, self.heads // self.kv_heads, -1).flatten()

    def disagreeing(self, signs: Tensor) -> int:
        """How many rotated pairs (i, i + rotated) of a head have two signs."""
        head = signs.reshape(self.kv_heads, -1)
        return int((head[:, : self.rotated] != head[:, self.rotated : 2 * self.rotated]).sum())

    @property
    def pairs(self) -> int:
        """Rotated pairs of all heads."""
        return self.kv_heads * self.rotated


def key_sites(gm: fx.GraphModule) -> tuple[list[KeySite], list[Site]]:
    """Attentions whose queries and keys are rows of linears, and the others with the reason why not."""
    found: list[KeySite] = []
    declined: list[Site] = []
    for node in calls(gm, "edgeq.attention", "edgeq.cross_attention"):
        result = _site(gm, node)
        if isinstance(result, KeySite):
            found.append(result)
        else:
            declined.append(Site(site(node), result))
    return found, declined


def _site(gm: fx.GraphModule, attention: fx.Node) -> KeySite | str:
    given = arguments(attention)
    if "k" not in given:
        return "its keys come from another entry"
    ends, rotations = [], []
    for name, words in (("q", "queries"), ("k", "keys")):
        chain = list(_chain(given[name]))
        end = _projection(chain, words)
        if isinstance(end, str):
            return end
        ends.append(end)
        rotations.append([value(arguments(n)["inv_freq"]).shape[0] for n in chain if op(n) == "edgeq.rope"])
    queries, keys = ends
    if rotations[0] != rotations[1] or len(rotations[0]) > 1:
        return "queries and keys are not rotated alike"
    if _shared(gm, queries) or _shared(gm, keys):
        return "its projection serves another layer too"
    return KeySite(
        attention, queries, keys, given["heads"], given["kv_heads"], int(sum(rotations[1])), _key(queries, keys)
    )


def _chain(node: fx.Node) -> Iterator[fx.Node]:
    """From an attention's argument back to the linear: ops that signs of channels pass through."""
    yield node
    while op(node) in ("edgeq.rope", "edgeq.rms_norm", "aten.slice") and isinstance(node.args[0], fx.Node):
        node = node.args[0]
        yield node


def _projection(chain: list[fx.Node], words: str) -> Projection | str:
    linear, outer = chain[-1], chain[:-1]
    if op(linear) != "aten.linear":
        return f"its {words} are no linear's output"
    if any(arguments(node).get("b") is not None for node in outer if op(node) == "edgeq.rms_norm"):
        return f"a bias is added to its normalised {words}"
    width = int(value(linear).shape[-1])
    start, stop, node = 0, width, linear
    if outer and op(outer[-1]) == "aten.slice":
        node = outer.pop()
        bounds = _bounds(node)
        if bounds is None:
            return f"its {words} are a part of a linear's rows"
        start, stop = bounds
        if any(other is not node and not _apart(other, start, stop) for other in linear.users):
            return f"something else reads its {words}"
    if any(op(inner) == "aten.slice" for inner in outer):
        return f"its {words} are cut after they are normalised"
    if any(len(inner.users) != 1 for inner in (*outer, node)):
        return f"something else reads its {words}"
    return Projection(linear, node, start, stop)


def _bounds(cut: fx.Node) -> tuple[int, int] | None:
    """The range of a slice of the last axis, None of another slice."""
    source = value(cut.args[0])
    given = arguments(cut)
    if given["step"] != 1 or given["dim"] not in (-1, source.dim() - 1):
        return None
    start, stop, _ = slice(given["start"], given["end"]).indices(int(source.shape[-1]))
    return start, stop


def _apart(user: fx.Node, start: int, stop: int) -> bool:
    """Whether a user of a linear reads none of its rows start:stop."""
    bounds = _bounds(user) if op(user) == "aten.slice" else None
    return bounds is not None and (bounds[1] <= start or stop <= bounds[0])


def _shared(gm: fx.GraphModule, end: Projection) -> bool:
    """Whether another linear (or an embedding) reads the same weight: its rows must not change sign for one alone."""
    own = _text(end.linear.args[1])
    others = (node for node in calls(gm, "aten.linear", "aten.embedding") if node is not end.linear)
    return any(_text(arguments(node)["weight"]) == own for node in others)


def _text(node: object) -> str:
    """A weight expression as text: equal text, equal weight."""
    if not isinstance(node, fx.Node):
        return repr(node)
    if node.op != "call_function":
        return str(node.target)
    return f"{node.target}({', '.join(_text(part) for part in torch.fx.node.map_arg(list(node.args), _text))})"


def _key(*ends: Projection) -> str:
    names = [str(leaf.target) for end in ends for leaf in stored(end.linear.args[1])]
    return "keys: " + " ".join(dict.fromkeys(names))
