"""What the manifest says of a plan: entries, regions, kernels, memory."""

from __future__ import annotations

from typing import Any

from edgeq.kernels.kernel import Kernel
from edgeq.lower.plan import Call, Entry, Literal, Plan, Region, Tensor


def describe_entry(entry: Entry) -> dict[str, Any]:
    """An entry, its tensors, and its regions in order."""
    return {
        "name": entry.name,
        "kind": "token" if entry.max_rows else "static",
        "max_rows": entry.max_rows or 1,
        **{"base": entry.name, "batch": 1, "length": 0, **entry.facts},
        "inputs": [_describe_tensor(t) for t in entry.inputs],
        "outputs": [_describe_tensor(t) for t in entry.outputs],
        "regions": [_describe_region(r, static=not entry.max_rows) for r in entry.regions],
    }


def _describe_tensor(tensor: Tensor) -> dict[str, Any]:
    shape, stride = list(tensor.shape), tensor.view.ld if tensor.shape else 1
    return {"name": tensor.name, "dtype": tensor.view.dtype, "shape": shape, "row_stride": stride}


def _describe_region(region: Region, static: bool) -> dict[str, Any]:
    """Kind (family of its main kernel), Hugging Face modules, kernels, weight bytes, multiply-adds: a row of a token
    entry, a run of a static one."""
    return {
        "kind": region.kind,
        "modules": region.modules,
        "kernels": [c.kernel.name for c in region.calls],
        "weight_bytes": region.weight_bytes,
        "ops": sum(c.kernel.ops * rows_of_call(c) for c in region.calls) if static else region.ops,
    }


def rows_of_call(call: Call) -> int:
    """Rows of a call whose shapes are fixed: attention knows its own, the others take their number first."""
    if call.kernel.family == "attend.attend":
        return int(call.kernel.options["B"] * call.kernel.options["S"])
    first = call.args[0]
    counted = call.kernel.params[0].access == "value" and isinstance(first, Literal)
    return int(first.text) if counted else 1  # type: ignore[union-attr]


def describe_kernel(kernel: Kernel) -> dict[str, Any]:
    """A kernel of the plan; `what`: the ops that a kernel of glue fuses, and the shape of what it computes."""
    glue = kernel.family == "glue"
    return {
        "name": kernel.name,
        "family": kernel.family,
        "what": f"{kernel.options['ops']} -> {list(kernel.options['shape'])}" if glue else "",
        "unit": kernel.unit,
        "weight_bytes": kernel.weight_bytes,
        "ops": kernel.ops,
    }


def describe_memory(plan: Plan, weights_bytes: int, chunk: int) -> dict[str, int]:
    """Bytes by use; `context` and `chunk` in tokens."""
    return {
        "weights": weights_bytes,
        "arena": plan.arena_bytes,
        "private_per_thread": plan.private_bytes,
        "kv_cache": sum(b.bytes for b in plan.caches),
        "logits": plan.logits.bytes if plan.logits else 0,
        "context": plan.context,
        "chunk": chunk,
    }
