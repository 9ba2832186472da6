"""Bytes of kernels, which units of one shape and format share: first by kind, then as the plan's objects hold them."""

from __future__ import annotations

from edgeq.kernels.kernel import Kernel
from edgeq.lower.objects import kernel_object
from edgeq.lower.plan import Plan
from edgeq.lower.weights import padded
from edgeq.modelled.program import read_program
from edgeq.quant.format import WeightFormat
from edgeq.targets import Target

# Bytes that a byte of machine code takes in kernels.a and model.so together; fitted by benchmarks/kernel_sizes.py.
FILES_A_BYTE = {"x86-64": 2.5, "arm64": 4.8}
# Machine code of one instruction-set variant, all entries together, of kernels that no plan has had yet.
LINEAR, ASYMMETRIC, LINEAR_8, FLOAT, QUANTIZE = 7_500, 16_000, 5_500, 3_000, 3_600


def linear_name(rows: int, columns: int, text: str) -> str:
    """What the kernels of a linear are called among an allocation's code."""
    return f"linear {padded(rows)}x{padded(columns)} {text}"


def quantize_name(columns: int, text: str) -> str:
    """Of those that quantize its input: for the groups and zero points of the weights that it meets."""
    fmt = WeightFormat.parse(text)
    return f"quantize {padded(columns)} {fmt.group_size or columns} {fmt.zero_point or 1}"


def rough_bytes(name: str, target: Target) -> int:
    """Bytes in the files, by kind alone."""
    kind, _, text = name.split(" ", 2)
    size = QUANTIZE
    if kind == "linear":
        fmt = WeightFormat.parse(text)
        size = FLOAT if fmt.is_float else LINEAR_8 if fmt.bits == 8 else LINEAR if fmt.symmetric else ASYMMETRIC
    return round(size * len(target.isas) * FILES_A_BYTE[target.name])


def plan_code(plan: Plan, target: Target) -> dict[str, int]:
    """Bytes in the files of each linear's and quantizer's kernels; their objects are compiled, or in the cache."""
    kernels = list(plan.kernels().values())
    found: dict[str, int] = {}
    for isa in plan.variants(target):
        sizes = {f.name: f.size for f in read_program(kernel_object(kernels, isa)).functions}
        for kernel in kernels:
            if name := _name(kernel):
                found[name] = found.get(name, 0) + sizes.get(f"{kernel.name}_{isa.name}", 0)
    return {name: round(size * FILES_A_BYTE[target.name]) for name, size in found.items()}


def _name(kernel: Kernel) -> str:
    """As `linear_name` and `quantize_name`; "" of other kernels."""
    made = kernel.options
    if kernel.family.startswith(("linear_int.", "linear_float.", "sparse.")):
        return f"linear {made['N']}x{made['K']} {made['fmt']}"
    if kernel.family.startswith("quantize."):
        return f"quantize {made['K']} {made['group_size'] or made['K']} {made['zero']}"
    return ""


def names_of(rows: int, columns: int, text: str) -> tuple[str, ...]:
    """The code that a linear needs in a format; float weights take activations as they are."""
    if WeightFormat.parse(text).is_float:
        return (linear_name(rows, columns, text),)
    return (linear_name(rows, columns, text), quantize_name(columns, text))
