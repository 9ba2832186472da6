"""A cluster as a program: values in memory, kernels over them, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from torch import fx

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import op, site
from edgeq.lower.glue.builder import Builder
from edgeq.lower.glue.cluster import Cluster
from edgeq.lower.glue.importer import fused
from edgeq.lower.glue.isolate import isolate, text
from edgeq.lower.glue.operand import Alias, Operand, Program, Step

__all__ = ["Alias", "Operand", "Program", "Step", "program"]


def program(cluster: Cluster, operands: Mapping[fx.Node, Operand]) -> Program:
    """Compile a cluster whose inputs lie in memory as `operands` says; outputs get rows padded to 16 with zero lanes.

    Raises UnsupportedError naming the op and its Hugging Face module when TVM or the schedule cannot take it.
    """
    graph = isolate(cluster)
    inputs = tuple(operands[node] for node in cluster.inputs)
    try:
        return _cached(_Key(text(graph), inputs, graph))
    except UnsupportedError as e:
        places = sorted({site(node) for node in cluster.nodes})
        ops = sorted({op(node) for node in cluster.nodes if op(node)})
        raise UnsupportedError(f"{', '.join(places[:4])} ({', '.join(ops)}): {e}") from e


@dataclass(frozen=True)
class _Key:
    """Equal text and operands: equal programs (a model's layers repeat)."""

    text: str
    inputs: tuple[Operand, ...]
    graph: fx.Graph = field(compare=False)


@lru_cache(maxsize=4096)
def _cached(key: _Key) -> Program:
    return Builder(key.inputs).build(fused(key.graph))
