"""What depends on neither inputs nor weights is computed once and held as a real buffer `const_<i>`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from edgeq.frontend.export import attribute, set_tensor
from edgeq.frontend.match import base, is_number, shape, value
from edgeq.frontend.rewrite import IMPURE, call, fake_mode, sweep

aten = torch.ops.aten
FACTORIES = {"arange", "zeros", "ones", "full", "scalar_tensor", "eye", "linspace", "tril_indices", "triu_indices"}
FILLS = {"zeros_like": 0, "new_zeros": 0, "ones_like": 1, "new_ones": 1, "full_like": None, "new_full": None}
KEPT = {"mask", "empty", "rand", "randn", "bernoulli"}  # `edgeq_trace::mask` is absorbed by attention as attributes


def fold_constants(gm: fx.GraphModule) -> int:
    """Replace constant nodes that anything else reads by buffers; returns how many were folded.

    A constant that was only broadcast is stored unbroadcast behind an `expand`.
    """
    known = _constants(gm)
    folded = 0
    for node, tensor in known.items():
        if node.op == "call_function" and any(user not in known for user in node.users):
            node.replace_all_uses_with(_held(node, tensor))
            folded += 1
    sweep(gm)
    return folded


def _constants(gm: fx.GraphModule) -> dict[fx.Node, Any]:
    known: dict[fx.Node, Any] = {}
    for node in gm.graph.nodes:
        if node.op == "get_attr":
            tensor = attribute(gm, str(node.target))
            if tensor.device.type != "meta":
                known[node] = tensor
        elif node.op == "call_function" and isinstance(value(node), (Tensor, tuple, list)):
            result = _computed(node, known)
            if result is not None:
                known[node] = result
    return {node: tensor for node, tensor in known.items() if isinstance(tensor, Tensor)}


def _computed(node: fx.Node, known: dict[fx.Node, Any]) -> Any:
    """The node's value if it is a constant, else None."""
    kind = base(node) or ""
    if kind in FILLS and _fill(node) is not None:
        return torch.tensor(_fill(node), dtype=value(node).dtype).expand(shape(node))
    sources = node.all_input_nodes
    if kind in KEPT or kind in IMPURE or not all(source in known for source in sources):
        return None
    if not sources and kind not in FACTORIES:
        return None
    args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), known.__getitem__)
    with torch.no_grad():
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _fill(node: fx.Node) -> float | None:
    filled = FILLS[base(node) or ""]
    if filled is None:
        given: Any = node.args[1 if base(node) == "full_like" else 2]
        return given if is_number(given) or isinstance(given, bool) else None
    return filled


def _held(node: fx.Node, tensor: Tensor) -> fx.Node:
    """The buffer that holds the value, with axes along which it only repeats itself left to an `expand`."""
    narrow = tensor
    for axis in range(tensor.dim()):
        if tensor.shape[axis] > 1 and tensor.stride(axis) == 0:
            narrow = narrow.narrow(axis, 0, 1)
    held = hold(node, narrow.contiguous().clone())
    if narrow.shape == tensor.shape:
        return held
    return call(node, aten.expand.default, held, list(tensor.shape))


def hold(like: fx.Node, tensor: Tensor, kind: str = "const") -> fx.Node:
    """A get_attr node before `like` for a real tensor; equal ones of a kind share one buffer `<kind>_<number>`."""
    gm = like.graph.owning_module
    names = [name for name in gm._buffers if name.startswith(f"{kind}_")]
    name = next((n for n in names if _equal(gm._buffers[n], tensor)), None)
    if name is None:
        name = f"{kind}_{len(names)}"
        set_tensor(gm, name, tensor)
    with like.graph.inserting_before(like):
        node = like.graph.get_attr(name)
    node.meta.update(val=fake_mode(like.graph).from_tensor(tensor, static_shapes=True), hf="")
    return node


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)


def constant_value(node: Any) -> Tensor | None:
    """The tensor that the graph holds for a get_attr node; None for weights and everything else."""
    if not isinstance(node, fx.Node) or node.op != "get_attr":
        return None
    tensor = attribute(node.graph.owning_module, str(node.target))
    return None if tensor.device.type == "meta" else tensor
