"""What may stand in a raised graph, and the list of what does not."""

from __future__ import annotations

import torch
from torch import fx

from edgeq.frontend.expression import is_weight
from edgeq.frontend.match import base, rank, shape

aten, eq = torch.ops.aten, torch.ops.edgeq
TENSOR_OPS = {
    "linear", "embedding", "layer_norm", "add", "sub", "mul", "div", "tanh", "gelu", "silu", "relu", "slice",
    "attention", "rms_norm", "rope", "gated", "quick_gelu",
}


def offending(gm: fx.GraphModule) -> list[str]:
    """One line for each distinct thing outside the dialect: what it is and the Hugging Face modules that hold it."""
    modules: dict[str, list[str]] = {}
    for node in gm.graph.nodes:
        problem = _problem(node)
        if problem:
            modules.setdefault(problem, []).append(node.meta.get("hf") or "(the model itself)")
    lines = [f"{problem}: {_listed(found)}" for problem, found in modules.items()]
    if not any(node.target is eq.attention.default for node in gm.graph.nodes):
        lines.append("no attention was found: edgeq compiles transformer decoders")
    return lines


def _listed(modules: list[str], most: int = 4) -> str:
    names = list(dict.fromkeys(modules))
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _problem(node: fx.Node) -> str | None:
    if node.op != "call_function" or is_weight(node):
        return None
    name = base(node) or str(node.target)
    if name == "mask":
        return None  # reported through the op that uses it
    if name == "attention" and node.target is not eq.attention.default:
        return "attention with a mask that is no window over positions"
    if name not in TENSOR_OPS:
        return f"op {node.target}"
    if name == "linear" and not is_weight(node.args[1]):
        return "linear with a computed weight"
    if name == "slice" and node.args[1] not in (-1, rank(node) - 1):
        return "slice of another axis than the last"
    if rank(node) not in (0, 3) and len(shape(node)) != 3 and name not in ("add", "mul", "sub"):
        return f"{name} on a tensor of {rank(node)} axes"
    return None
