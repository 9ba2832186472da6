"""Kernels as plain functions on numpy arrays: those of x86-64 run in this process, those of arm64 in an emulator."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from guest import CALLED, Argument, Guest, link_guest
from isas import EMULATED, ISAS, NATIVE, cpu

from edgeq.kernels.compile import compile_object
from edgeq.kernels.kernel import Kernel, Param
from edgeq.lower.toolchain import CFLAGS, cc
from edgeq.targets import find
from edgeq.targets.isa import Isa


class Library:
    """`lib(isa, kernel, lo, hi, *scalars, *arrays)` for every isa of `lib.isas`.

    A partial variant is one of them where some kernel is its own; its other kernels are its base's. Arrays may share
    memory; None is a null pointer. `objects`: the files that it was linked from, by ISA.
    """

    def __init__(self, kernels: Iterable[Kernel], folder: Path):
        unique = {k.name: k for k in kernels}
        own = {isa: [k for k in unique.values() if isa.owns(k.family)] for isa in ISAS}
        self.isas = tuple(isa for isa in ISAS if own[isa])
        self.objects = {isa: folder / f"{isa.name}.o" for isa in self.isas}
        for isa, path in self.objects.items():
            compile_object(own[isa], isa, path)
        here = [self.objects[i] for i in self.isas if i in NATIVE]
        self._native = link_shared(here, folder / "kernels.so", "x86-64") if here else None
        self._guests = {isa: self._guest(isa, list(unique), folder) for isa in EMULATED}

    def _guest(self, isa: Isa, names: Sequence[str], folder: Path) -> Guest:
        symbols = [f"{name}_{isa.name}" for name in names]
        return Guest(link_guest([self.objects[isa]], symbols, folder / isa.name), symbols, cpu(isa))

    def __call__(self, isa: Isa, kernel: Kernel, lo: int, hi: int, *args: Argument) -> None:
        assert len(args) == len(kernel.params), (kernel.name, [p.name for p in kernel.params])
        for param, value in zip(kernel.params, args, strict=True):
            _check(param, value)
        symbol = f"{kernel.name}_{isa.name if isa.owns(kernel.family) else isa.base}"
        if isa in self._guests:
            self._guests[isa].call(symbol, [lo, hi, *args])
        else:
            getattr(self._native, symbol)(lo, hi, *map(_native, args))


def _check(param: Param, value: Argument) -> None:
    if param.access == "value":
        assert isinstance(value, (int, np.integer))
    else:
        assert value is None or (isinstance(value, np.ndarray) and value.flags.c_contiguous)


def _native(value: Argument) -> Any:
    if value is None or isinstance(value, np.ndarray):
        return ctypes.c_void_p(0 if value is None else value.ctypes.data)
    return ctypes.c_int(int(value))


def link_shared(objects: Iterable[Path], output: Path, target: str) -> ctypes.CDLL | None:
    """Objects as a shared library that lacks nothing but libm; loaded where it is of this machine's kind."""
    options = ["-shared", "-s", "-Wl,-z,defs", "-o", str(output)]
    cc(find(target).zig_triple, [*CFLAGS, *options, *map(str, (*objects, *CALLED)), "-lm"], output.name)
    return ctypes.CDLL(str(output)) if target == "x86-64" and NATIVE else None
