"""What a kernel factory needs to know of an instruction set: its LLVM target and which dot product it has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Isa:
    """One instruction-set variant of an artifact.

    Attributes:
        name: C identifier, the suffix of its kernels' symbols: `avx512vnni`, `avx2`, `portable`.
        triple: LLVM target triple of the code generator.
        mcpu: LLVM CPU name.
        mattr: extra LLVM features.
        dot: which integer dot product `kernels` emit: `vnni512`, `avx2`, `generic`.
        gemm_rows: rows of the GEMM's register block (4, 8 or 16).
        needs: CPU features that must be present at load, as the runtime names them.
    """

    name: str
    triple: str
    mcpu: str
    mattr: tuple[str, ...]
    dot: str
    gemm_rows: int
    needs: tuple[str, ...]

    def tvm_target(self) -> dict[str, object]:
        """The dictionary that `tvm.target.Target` takes."""
        return {"kind": "llvm", "mtriple": self.triple, "mcpu": self.mcpu, "mattr": list(self.mattr)}
