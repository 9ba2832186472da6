"""Scores of signs: queries and keys of static attention become a bit a channel and a scale a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import fx

from edgeq.ir.graph import arguments, calls, hf_name, insert, is_weight, op, site, value
from edgeq.passes.folds.folding import replace_argument
from edgeq.passes.pass_ import Context, Pass, Report, Site

MAX_CHANNELS = 992  # of a head, that the kernel counts in bytes


@dataclass(frozen=True)
class SignAttention(Pass):
    """`attention(q, k, v)` -> `attention(sign_heads(q), sign_heads(k), v)`: scores are counted (XNOR and popcount).

    A quantizer choice for encoders that were trained with binary queries and keys; on others it costs most of what
    attention knows. Softmax and values stay float. Attention over a cache keeps its scores.

    Attributes:
        only: part of the names of the attentions that it takes, "" for all.
    """

    name: ClassVar[str] = "sign-attention"
    only: str = ""

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Mark every attention of a static graph that the kernel can do; the others are listed with the reason."""
        changed, declined = [], []
        for node in calls(gm, "edgeq.attention", "edgeq.cached_attention", "edgeq.cross_attention"):
            if self.only not in hf_name(node):
                continue
            if reason := _why_not(node):
                declined.append(Site(site(node), reason))
            else:
                changed.append(_mark(gm, node))
        return Report(str(self), tuple(changed), tuple(declined))


def _why_not(node: fx.Node) -> str:
    given = arguments(node)
    if op(node) != "edgeq.attention" or not isinstance(value(node).shape[1], int):
        return "its keys are cached: only whole sequences have scores of signs"
    if given["sinks"] is not None or given["probs"]:
        return "sinks, or probabilities on a grid, go with float scores"
    if is_weight(given["q"]) or is_weight(given["k"]):
        return "its queries or keys are weights"
    if op(given["q"]) == "edgeq.sign_heads":
        return "its scores are of signs already"
    channels = int(value(given["q"]).shape[-1]) // given["heads"]
    return f"heads of {channels} channels; at most {MAX_CHANNELS}" if channels > MAX_CHANNELS else ""


def _mark(gm: fx.GraphModule, node: fx.Node) -> Site:
    given = arguments(node)
    with gm.graph.inserting_before(node):
        for name, heads in (("q", given["heads"]), ("k", given["kv_heads"])):
            new = insert(gm.graph, "edgeq.sign_heads", given[name], heads=heads, like=given[name])
            new.meta["hf"] = hf_name(node)
            replace_argument(node, name, new)
    return Site(site(node), "scores of signs")
