"""Kernels -> one object file for one instruction set, through TVM's LLVM backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeq.errors import ToolchainError
from edgeq.kernels.kernel import Kernel
from edgeq.targets.isa import Isa


def compile_object(kernels: Sequence[Kernel], isa: Isa, path: str | Path) -> None:
    """Write an ELF object at `path` that exports `<kernel.name>_<isa.name>` of every kernel.

    Equal names are compiled once. Undefined symbols are libm's (`fmaf` where the CPU may lack it) and compiler-rt's.
    Raises ToolchainError when the code generator refuses a kernel.
    """
    import tvm

    functions = {f"{k.name}_{isa.name}": k for k in kernels}
    module = tvm.IRModule({symbol: k.build(isa) for symbol, k in functions.items()})
    try:  # local buffers become registers only without storage rewrite
        with tvm.transform.PassContext(config={"tirx.disable_storage_rewrite": True}):
            built = tvm.compile(module, target=tvm.target.Target(isa.tvm_target()))
        getattr(built, "mod", built).write_to_file(str(path), "o")
    except Exception as e:  # TVM raises many types; each one is a fault of a kernel or of the code generator
        raise ToolchainError(f"code generation for {isa.name} failed on one of {', '.join(functions)}: {e}") from e
