"""Which linears a pass that decides on stored numbers takes, and under which name it keeps what it decided."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from torch import fx

from edgeq.ir.graph import arguments, op
from edgeq.passes.folds.channels import stored
from edgeq.passes.folds.weight_key import key_of
from edgeq.passes.grids import holds_grid
from edgeq.quant.simulate import QuantSpec


def decision_key(linear: fx.Node, quant: QuantSpec) -> str:
    """Weight and format: entries whose formats differ decide each for itself."""
    return f"{key_of(linear)} {quant.format}"


def undecided(
    quants: Mapping[fx.Node, QuantSpec], known: Callable[[str], bool], key: Callable[[fx.Node, QuantSpec], str]
) -> Iterator[fx.Node]:
    """Linears whose key nobody has decided for yet, one a key."""
    seen: set[str] = set()
    for linear, quant in quants.items():
        name = key(linear, quant)
        if name not in seen and not known(name):
            yield linear
        seen.add(name)


def why_declined(linear: fx.Node, quant: QuantSpec, last: bool) -> str:
    """Why the rounding of a linear is not decided, "" when it is; last: it computes an output."""
    weight = arguments(linear)["weight"]
    if any(op(user) == "aten.embedding" for leaf in stored(weight) for user in leaf.users):
        return "its weight is also the token embedding"
    if last:
        return "it makes the output, which has a format of its own"
    if holds_grid(weight):
        return "its weight is on a grid already"
    if quant.kind != "int" and quant.format.meaning.sparse:
        return f"it is stored as {quant.format}: jsq{{compensate=true}} chooses what is kept and rounds it"
    return f"it is stored as f{quant.weight_bits}: nothing to round" if quant.weight_bits >= 16 else ""
