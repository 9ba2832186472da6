"""Runs glue programs: clusters made from small torch functions, compiled for every ISA, called step by step."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

from edgeq.kernels.compile import compile_object
from edgeq.lower.glue.cluster import Cluster
from edgeq.lower.glue.program import Operand, Program, program
from edgeq.targets import x86_64
from edgeq.targets.isa import Isa

FLAG = {"avx512vnni": "avx512_vnni"}


def runnable_isas() -> tuple[Isa, ...]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = set(next((line.split() for line in lines if line.startswith("flags")), []))
    return tuple(i for i in x86_64.TARGET.isas if all(FLAG.get(f, f) in flags for f in i.needs))


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


class Compiled:
    """Programs linked into one library; `run(isa, program, arrays, pieces)` gives the memory of its outputs."""

    def __init__(self, programs: list[Program], folder: Path):
        kernels = {s.kernel.name: s.kernel for p in programs for s in p.steps}
        self.objects = [folder / f"{isa.name}.o" for isa in runnable_isas()]
        self.shared = None
        if not kernels:
            return
        for isa, path in zip(runnable_isas(), self.objects, strict=True):
            compile_object(list(kernels.values()), isa, path)
        out = folder / "glue.so"
        zig = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            x86_64.TARGET.zig_triple,
            "-shared",
            "-s",
            "-Wl,-z,defs",
        ]
        subprocess.run([*zig, "-o", str(out), *map(str, self.objects), "-lm"], check=True)
        self.shared = ctypes.CDLL(str(out))

    def run(self, isa: Isa, p: Program, inputs: list[np.ndarray], pieces: int = 1) -> list[np.ndarray]:
        memory: dict[int, np.ndarray] = dict(zip(p.inputs, inputs, strict=True))
        for i, array in p.constants.items():
            memory[i] = store(torch.from_numpy(array), p.values[i])
        aliases = {a.value: a for a in p.aliases}

        def at(i: int) -> np.ndarray:
            if i in aliases:
                return at(aliases[i].source)[aliases[i].offset :]
            if i not in memory:
                memory[i] = empty(p.values[i])
            return memory[i]

        for s in p.steps:
            cuts = [s.units * k // pieces for k in range(pieces + 1)]
            pointers = [ctypes.c_void_p(at(i).ctypes.data) for i in (*s.inputs, s.output)]
            for lo, hi in itertools.pairwise(cuts):
                self.shared[f"{s.kernel.name}_{isa.name}"](lo, hi, *pointers)
        return [at(i) for i in p.outputs]


def glue(
    function: Callable[..., Any], *inputs: torch.Tensor, strides: tuple[int, ...] = ()
) -> tuple[Program, list[np.ndarray]]:
    """The program of a whole function and the memory of its inputs."""
    cluster = whole(trace(function, inputs))
    operands = [operand(t, s) for t, s in zip(inputs, strides or (None,) * len(inputs), strict=True)]
    made = program(cluster, dict(zip(cluster.inputs, operands, strict=True)))
    return made, [store(t, o) for t, o in zip(inputs, operands, strict=True)]


def check(
    function: Callable[..., Any],
    inputs: tuple[torch.Tensor, ...],
    folder: Path,
    strides: tuple[int, ...] = (),
    tolerance: float = 2e-6,
) -> Program:
    """Compare with torch on every ISA, whole and cut in pieces; pad lanes must be zero, bits equal."""
    made, arrays = glue(function, *inputs, strides=strides)
    compiled = Compiled([made], folder)
    expected = function(*inputs)
    expected = expected if isinstance(expected, (tuple, list)) else (expected,)
    first: list[np.ndarray] = []
    for isa in runnable_isas():
        for pieces in (1, 3, 7):
            outputs = compiled.run(isa, made, [a for a in arrays], pieces)
            for i, (memory, want) in enumerate(zip(outputs, expected, strict=True)):
                o = made.values[made.outputs[i]]
                got = fetch(memory, o)
                assert tuple(got.shape) == tuple(want.shape)
                want_ = want.detach().numpy().astype(np.float64)
                scale = max(1e-6, np.abs(want_[np.isfinite(want_)]).max(initial=0.0))
                error = np.abs(got.astype(np.float64) - want_)
                error = np.where(got == want_, 0, error)
                assert np.nanmax(error, initial=0.0) <= tolerance * scale, (isa.name, pieces, np.nanmax(error), scale)
                width = o.shape[-1] if o.shape else 1
                rows = int(np.prod(o.shape[:-1])) if o.shape else 1
                assert not memory[: rows * o.row_stride].reshape(rows, -1)[:, width:].any(), "pad lanes"
                if len(first) <= i:
                    first.append(got.copy())
                assert np.array_equal(got, first[i], equal_nan=True), f"{isa.name} differs"
    return made
