"""Which weight formats meet which activations in kernels."""

from __future__ import annotations

from edgeq.quant.format import WeightFormat

INTEGER_ONLY = ("planes", "codebook", "sparse8", "sparse4")


def without_kernel(fmt: WeightFormat, act: str) -> str:
    """What of weights `fmt` with activations `act` can only be simulated, in words; "" where there is a kernel.

    Weights that only take floats get them whatever `act` says.
    """
    if act == "a4":
        return "activations of 4 bits"
    if act == "a16" and fmt.kind in INTEGER_ONLY:
        return f"{fmt.meaning.words} with activations in float (a16)"
    return ""
