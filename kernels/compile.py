"""Kernels -> one object file for one instruction set, through TVM's LLVM backend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError, ToolchainError
from edgeq.kernels.kernel import Kernel
from edgeq.targets.isa import Isa

_HALF_CONVERSIONS = (b"__extendhfsf2", b"__truncsfhf2")


def compile_object(kernels: Sequence[Kernel], isa: Isa, path: str | Path) -> None:
    """Write an ELF object at `path` that exports `<kernel.name>_<isa.name>` of every kernel.

    Equal names are compiled once. Undefined symbols are libm's (`fmaf` where the CPU may lack it) and compiler-rt's.
    Raises ToolchainError when the code generator refuses a kernel.
    """
    functions = {f"{k.name}_{isa.name}": _build(k, isa) for k in {k.name: k for k in kernels}.values()}
    try:
        _generate(functions, isa).write_to_file(str(path), "o")
    except Exception as e:  # TVM raises many types; each one is a fault of a kernel or of the code generator
        raise ToolchainError(f"code generation for {isa.name} failed on one of {', '.join(functions)}: {e}") from e
    _own_half_conversions(Path(path), isa)


def _build(kernel: Kernel, isa: Isa) -> Any:
    """The kernel's function; a refusal (EdgeqError) passes, anything else is a ToolchainError that names the kernel."""
    try:
        return kernel.build(isa)
    except EdgeqError:
        raise
    except Exception as e:
        raise ToolchainError(f"kernel {kernel.name} cannot be built for {isa.name}: {e}") from e


def _generate(functions: dict[str, Any], isa: Isa) -> Any:
    """Functions -> TVM runtime module.

    Kernels are written flat, unrolled and with registers (`vector.py`), so that none of TVM's default passes has
    anything to do but lower intrinsics; leaving the others out makes compiling two to three times faster.
    """
    import tvm

    target = tvm.target.Target(isa.tvm_target())
    transform = tvm.tirx.transform
    passes = [transform.BindTarget(target.with_host(target)), transform.LowerTVMBuiltin(), transform.LowerIntrin()]
    module = tvm.ir.transform.Sequential(passes)(tvm.IRModule(functions))
    return tvm.get_global_func("target.build.llvm")(module, target)


def _own_half_conversions(path: Path, isa: Isa) -> None:
    """Give TVM's fp16 conversion functions in an object a name of this ISA.

    TVM defines them as weak symbols in every object, compiled for its CPU. Linking several ISAs would keep one
    copy for all of them, and the portable kernels could end up running AVX-512 code.
    """
    data = path.read_bytes()
    for name in _HALF_CONVERSIONS:
        tag = isa.name.encode()[:4].ljust(4, b"_")
        data = data.replace(b"\0" + name + b"\0", b"\0" + name[:-4] + tag + b"\0")
    path.write_bytes(data)
