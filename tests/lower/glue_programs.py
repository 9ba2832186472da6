"""Runs glue programs: clusters made from small torch functions, compiled for every ISA, called step by step."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kernel_library import Library
from torch import fx

from edgeq.errors import EdgeqError
from edgeq.lower.glue.cluster import Cluster
from edgeq.lower.glue.program import Operand, Program, Step, program
from edgeq.targets.isa import Isa


def trace(function: Callable[..., Any], inputs: tuple[torch.Tensor, ...]) -> fx.Graph:
    """The function's ATen graph, as the frontend spells it (reshape instead of view, no copies)."""

    class Module(torch.nn.Module):
        def forward(self, *args: torch.Tensor) -> Any:
            return function(*args)

    return torch.export.export(Module(), inputs).module(check_guards=False).graph


def whole(graph: fx.Graph) -> Cluster:
    """Every op of the graph as one cluster."""
    nodes = tuple(n for n in graph.nodes if n.op == "call_function")
    inputs = tuple(n for n in graph.nodes if n.op == "placeholder")
    outputs = tuple(fx.node.map_arg(next(n for n in graph.nodes if n.op == "output").args[0], lambda n: n))
    return Cluster(nodes, inputs, outputs)


def padded(width: int) -> int:
    return -(-width // 16) * 16


def operand(tensor: torch.Tensor, stride: int | None = None) -> Operand:
    width = tensor.shape[-1] if tensor.dim() else 1
    return Operand(tuple(tensor.shape), "f32" if tensor.is_floating_point() else "i32", stride or padded(width))


def store(tensor: torch.Tensor, o: Operand) -> np.ndarray:
    """Memory of a tensor as the operand says, 64-byte aligned."""
    array = tensor.detach().numpy().astype(np.float32 if o.dtype == "f32" else np.int32)
    width = o.shape[-1] if o.shape else 1
    memory = empty(o)
    memory[...] = 0
    memory.reshape(-1, o.row_stride)[:, :width] = array.reshape(-1, width)
    return memory


def empty(o: Operand) -> np.ndarray:
    rows = int(np.prod(o.shape[:-1])) if o.shape else 1
    raw = np.full(rows * o.row_stride + 16, -7, np.float32 if o.dtype == "f32" else np.int32)
    start = (-raw.ctypes.data % 64) // 4
    return raw[start : start + rows * o.row_stride]


def fetch(memory: np.ndarray, o: Operand) -> np.ndarray:
    width = o.shape[-1] if o.shape else 1
    rows = int(np.prod(o.shape[:-1])) if o.shape else 1
    return memory[: rows * o.row_stride].reshape(rows, o.row_stride)[:, :width].reshape(o.shape)


@dataclass
class Case:
    """A function, its inputs, perhaps the row strides they are given with, and how far from torch it may be."""

    function: Callable[..., Any]
    inputs: tuple[torch.Tensor, ...]
    strides: tuple[int | None, ...] = ()
    tolerance: float = 2e-6
    program: Program | None = None
    error: EdgeqError | None = None

    def compile(self) -> tuple[Step, ...]:
        """Steps of the program; a refusal is kept for the test of this case."""
        cluster = whole(trace(self.function, self.inputs))
        try:
            self.program = program(cluster, dict(zip(cluster.inputs, self.operands(), strict=True)))
        except EdgeqError as e:
            self.error = e
        return self.program.steps if self.program else ()

    def operands(self) -> list[Operand]:
        strides = self.strides or (None,) * len(self.inputs)
        return [operand(t, s) for t, s in zip(self.inputs, strides, strict=True)]

    def arrays(self) -> list[np.ndarray]:
        return [store(t, o) for t, o in zip(self.inputs, self.operands(), strict=True)]

    def expected(self) -> list[np.ndarray]:
        results = self.function(*self.inputs)
        return [r.detach().numpy() for r in (results if isinstance(results, (tuple, list)) else (results,))]


class Suite:
    """Cases compiled into a library with every ISA that can be run here."""

    def __init__(self, cases: dict[str, Case], folder: Path):
        self.cases = cases
        self.library = Library([s.kernel for c in cases.values() for s in c.compile()], folder)

    def run(self, isa: Isa, p: Program, inputs: list[np.ndarray], pieces: int) -> list[np.ndarray]:
        """Memory of the outputs after every step was called for each of `pieces` parts of its units."""
        memory = dict(zip(p.inputs, inputs, strict=True))
        memory |= {i: store(torch.from_numpy(array), p.values[i]) for i, array in p.constants.items()}
        aliases = {a.value: a for a in p.aliases}

        def at(i: int) -> np.ndarray:
            if i in aliases:
                return at(aliases[i].source)[aliases[i].offset :]
            return memory.setdefault(i, empty(p.values[i]))

        for step in p.steps:
            cuts = [step.units * k // pieces for k in range(pieces + 1)]
            arrays = [at(i) for i in (*step.inputs, step.output)]
            for lo, hi in itertools.pairwise(cuts):
                self.library(isa, step.kernel, lo, hi, *arrays)
        return [at(i) for i in p.outputs]

    def check(self, name: str) -> None:
        """Close to torch, zero pad lanes, and equal bits however the units are cut and on every ISA."""
        case = self.cases[name]
        if case.program is None:
            raise case.error or AssertionError("not compiled")
        p, arrays, expected = case.program, case.arrays(), case.expected()
        first: list[np.ndarray] = []
        for isa in self.library.isas:
            for pieces in (1, 3, 7):
                outputs = self.run(isa, p, arrays, pieces)
                assert len(outputs) == len(expected)
                for i, (memory, want) in enumerate(zip(outputs, expected, strict=True)):
                    got = fetch(memory, p.values[p.outputs[i]])
                    compare(got, want, case.tolerance, f"output {i} on {isa.name} in {pieces}")
                    assert not pads(memory, p.values[p.outputs[i]]).any(), f"output {i}: pad lanes"
                    if len(first) <= i:
                        first.append(got.copy())
                    assert np.array_equal(got, first[i], equal_nan=True), f"output {i}: {isa.name} differs"

    def undefined(self) -> set[str]:
        """Symbols that the objects expect from elsewhere."""
        text = "".join(
            subprocess.run(["nm", "-u", str(o)], check=True, capture_output=True, text=True).stdout
            for o in self.library.objects.values()
        )
        return {line.split()[-1] for line in text.splitlines() if line.strip()}


def compare(got: np.ndarray, want: np.ndarray, tolerance: float, what: str) -> None:
    """Equal shapes; errors relative to the largest finite value."""
    assert got.shape == want.shape, what
    want = want.astype(np.float64)
    scale = max(1e-6, np.abs(want[np.isfinite(want)]).max(initial=0.0))
    error = np.where(got == want, 0.0, np.abs(got.astype(np.float64) - want))
    assert np.max(error, initial=0.0) <= tolerance * scale, f"{what}: {np.max(error)} of {scale}"


def pads(memory: np.ndarray, o: Operand) -> np.ndarray:
    """The lanes after the last element of every row."""
    rows, width = int(np.prod(o.shape[:-1], dtype=int)), o.shape[-1] if o.shape else 1
    return memory[: rows * o.row_stride].reshape(rows, o.row_stride)[:, width:]
