"""What a kernel factory needs to know of an instruction set: LLVM target, dot product, room in registers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Isa:
    """One instruction-set variant of an artifact.

    Attributes:
        name: C identifier, the suffix of its kernels' symbols: `avx512vnni`, `dotprod`, `portable`.
        triple: LLVM target triple of the code generator.
        mcpu: LLVM CPU name.
        mattr: extra LLVM features.
        dot: which integer dot product `kernels` emit, a key of `kernels.dot`.
        gemm_rows: activation rows of the integer GEMM's register block (2, 4, 8 or 16).
        needs: CPU features that must be present at load, as the runtime names them.
        accumulators: float32x16 accumulators that fit in registers beside their operands; 1: loops, not unrolled code.
        half: whether the CPU converts float16 to float32 and back.
        prefetch: whether software prefetch pays (measured), beside what the CPU does by itself.
        by_lane: whether a multiplication takes a scalar from a lane of a vector: scalars are then loaded 4 at a time.
        llvm_options: command-line options of LLVM.
        panel_quads: quads (4 k) of a row that lie together in the GEMM's activations: `[K/4/quads][rows][quads][4]`.
        base: name of the variant below, where this one is `partial`: it has its own code for the families in `gains`
            alone, all other kernels are those of `base`, so that it costs an artifact nothing that gains nothing.
        gains: families of kernels (`binary.gemm`) or their modules (`binary`) that gain from what `base` lacks.
    """

    name: str
    triple: str
    mcpu: str
    mattr: tuple[str, ...]
    dot: str
    gemm_rows: int
    needs: tuple[str, ...]
    accumulators: int = 1
    half: bool = False
    prefetch: bool = False
    by_lane: bool = False
    llvm_options: tuple[str, ...] = ()
    panel_quads: int = 1
    base: str = ""
    gains: tuple[str, ...] = ()

    def owns(self, family: str) -> bool:
        """Whether kernels of this family are generated for this variant; otherwise it runs those of `base`."""
        return not self.base or not {family, family.partition(".")[0]}.isdisjoint(self.gains)

    def tvm_target(self) -> dict[str, object]:
        """The dictionary that `tvm.target.Target` takes."""
        options = {"cl-opt": list(self.llvm_options)} if self.llvm_options else {}
        return {"kind": "llvm", "mtriple": self.triple, "mcpu": self.mcpu, "mattr": list(self.mattr), **options}
