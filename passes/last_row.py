"""One row to the head: only the last valid token's logits are wanted, so only its row goes through the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import fx

from edgeq.ir.graph import inputs, insert, is_weight, op, output, run_fake, site, value
from edgeq.passes.pass_ import Context, Pass, Report, Site, refuse

ROW_WISE = frozenset(
    [f"aten.{name}" for name in ("linear", "layer_norm", "add", "sub", "mul", "div", "tanh", "gelu", "silu", "relu")]
    + ["aten.slice"]
    + [f"edgeq.{name}" for name in ("fake_quant", "rms_norm", "gated", "quick_gelu", "qlinear", "hadamard")]
)


@dataclass(frozen=True)
class LastRow(Pass):
    """Gather row `n_valid - 1` as early as rows no longer mix; the output becomes `[1, 1, vocab]`. Exact.

    Attributes:
        through_residual: also push the gather through the last layer's feed-forward part, up to the last attention;
            otherwise it stops at the last residual sum, and is one gather.
    """

    name: ClassVar[str] = "last-row"
    through_residual: bool = False

    def requires(self, gm: fx.GraphModule) -> None:
        """Valid, cached (it has the input `n_valid`), and one output `[1, S, width]`."""
        super().requires(gm)
        if "n_valid" not in inputs(gm):
            refuse("no input n_valid", [Site("inputs", "run add-cache before last-row")])
        results = output(gm).all_input_nodes
        if len(results) != 1:
            refuse("one output is expected", [Site(site(node), "an output") for node in results])

    def run(self, gm: fx.GraphModule, context: Context) -> Report:
        """Insert the gather(s) and retype what follows."""
        rows = self._one_row_nodes(gm)
        counts = inputs(gm)["n_valid"]
        edges = [(node, source) for node in [*reversed(rows), output(gm)] for source in _token_inputs(node, rows)]
        gathered: dict[fx.Node, fx.Node] = {}
        for node, source in edges:
            if source not in gathered:
                with gm.graph.inserting_after(source):
                    gathered[source] = insert(gm.graph, "edgeq.last_row", source, counts, like=source)
            node.replace_input_with(source, gathered[source])
        for node in reversed(rows):
            node.meta["val"] = run_fake(node)
        return Report(str(self), tuple(Site(site(node), "only its last valid row goes on") for node in gathered))

    def _one_row_nodes(self, gm: fx.GraphModule) -> list[fx.Node]:
        """Nodes that need only one row, last first: row-wise, and used by such nodes alone."""
        chosen: list[fx.Node] = []
        members = {output(gm)}
        for node in reversed(gm.graph.nodes):
            if op(node) in ROW_WISE and not is_weight(node) and all(user in members for user in node.users):
                if not self.through_residual and len(_activations(node)) != 1:
                    break
                members.add(node)
                chosen.append(node)
        return chosen


def _activations(node: fx.Node) -> list[fx.Node]:
    return [source for source in node.all_input_nodes if not is_weight(source)]


def _token_inputs(node: fx.Node, rows: list[fx.Node]) -> list[fx.Node]:
    """Inputs of one-row nodes that still have every row."""
    return [
        source for source in _activations(node)
        if source not in rows and isinstance(value(source), torch.Tensor) and value(source).dim() == 3
    ]  # fmt: skip
