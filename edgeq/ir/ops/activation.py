"""Gated and plain activations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from edgeq.errors import VerifyError
from edgeq.ir.ops.library import composite


@composite("quick_gelu(Tensor x) -> Tensor")
def quick_gelu(x: Tensor) -> Tensor:
    """`x * sigmoid(1.702 x)` (GELUs, Hendrycks and Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "quick_gelu": quick_gelu,
}


@composite("gated(Tensor gate, Tensor up, *, str act) -> Tensor")
def gated(gate: Tensor, up: Tensor, *, act: str) -> Tensor:
    """`act(gate) * up`, both `[..., width]`; act is a key of ACTIVATIONS."""
    if act not in ACTIVATIONS:
        raise VerifyError(f"edgeq::gated has no activation {act!r}; it knows {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[act](gate) * up
