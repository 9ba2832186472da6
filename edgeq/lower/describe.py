"""What the manifest says of a plan: entries, regions, kernels, memory."""

from __future__ import annotations

from typing import Any

from edgeq.kernels.kernel import Kernel
from edgeq.lower.plan import Entry, Plan, Region, Tensor


def describe_entry(entry: Entry) -> dict[str, Any]:
    """An entry, its tensors, and its regions in order."""
    return {
        "name": entry.name,
        "kind": "token" if entry.max_rows else "static",
        "max_rows": entry.max_rows or 1,
        **{"base": entry.name, "batch": 1, "length": 0, **entry.facts},
        "inputs": [_describe_tensor(t) for t in entry.inputs],
        "outputs": [_describe_tensor(t) for t in entry.outputs],
        "regions": [_describe_region(r) for r in entry.regions],
    }


def _describe_tensor(tensor: Tensor) -> dict[str, Any]:
    shape, stride = list(tensor.shape), tensor.view.ld if tensor.shape else 1
    return {"name": tensor.name, "dtype": tensor.view.dtype, "shape": shape, "row_stride": stride}


def _describe_region(region: Region) -> dict[str, Any]:
    """Kind (family of its main kernel), Hugging Face modules, kernels, weight bytes, multiply-adds a row."""
    return {
        "kind": region.kind,
        "modules": region.modules,
        "kernels": [c.kernel.name for c in region.calls],
        "weight_bytes": region.weight_bytes,
        "ops": region.ops,
    }


def describe_kernel(kernel: Kernel) -> dict[str, Any]:
    """A kernel of the plan."""
    return {
        "name": kernel.name,
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
