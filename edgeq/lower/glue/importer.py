"""A graph of ATen ops -> TVM's importer -> TOPI -> fused PrimFuncs and the calls between them."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from tvm import relax
from tvm.relax.frontend.torch.exported_program_translator import ExportedProgramImporter

from edgeq.errors import UnsupportedError
from edgeq.ir.graph import op, site
from edgeq.lower.glue.convert import CONVERT

Expr = Any


def fused(graph: fx.Graph) -> Any:
    """The IRModule of an isolated graph after legalisation and fusion; UnsupportedError names ops TVM cannot take."""
    module = _Importer().run(graph)
    passes = (
        relax.transform.LegalizeOps(), relax.transform.FoldConstant(), relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(), relax.transform.FuseTIR(), relax.transform.DeadCodeElimination(["main"]),
    )  # fmt: skip
    try:
        for step in passes:
            module = step(module)
    except Exception as e:  # TVM raises many types; each one means that an op has no kernel of TOPI's
        raise UnsupportedError(f"TVM cannot compile it: {str(e).strip().splitlines()[-1]}") from e
    return module


class _Importer(ExportedProgramImporter):
    """TVM's conversion of each op, driven over a graph that is already traced; ops in `convert.py` come first."""

    def run(self, graph: fx.Graph) -> Any:
        self.block_builder = relax.BlockBuilder()
        inputs = [n for n in graph.nodes if n.op == "placeholder"]
        for node in inputs:
            held = node.meta["val"]
            self.env[node] = relax.Var(node.name, relax.TensorType(list(held.shape), tvm_dtype(held.dtype)))
        with self.block_builder.function("main", [self.env[n] for n in inputs]):
            with self.block_builder.dataflow():
                for node in graph.nodes:
                    if node.op == "call_function":
                        self.env[node] = self._convert(node)
                results = next(n for n in graph.nodes if n.op == "output").args[0]
                output = self.block_builder.emit_output(relax.Tuple([self.env[n] for n in results]))
            self.block_builder.emit_func_output(output)
        return self.block_builder.get()

    def _convert(self, node: fx.Node) -> Expr:
        name = node.target.__name__
        overload = name if op(node) else "getitem"
        try:
            if (ours := CONVERT.get(overload.partition(".")[0])) is not None:
                return ours(self, node)
            return self.convert_map[overload](node)
        except KeyError:
            raise UnsupportedError(f"{site(node)}: TVM's importer does not know {op(node) or name}") from None
        except UnsupportedError:
            raise
        except Exception as e:
            raise UnsupportedError(f"{site(node)}: TVM's importer refuses {op(node) or name}: {e}") from e


def tvm_dtype(dtype: torch.dtype) -> str:
    """torch's dtype as TVM writes it."""
    return str(dtype).removeprefix("torch.")
