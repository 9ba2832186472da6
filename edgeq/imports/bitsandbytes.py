"""bitsandbytes: NF4 in blocks of 64, and the 8-bit weights of LLM.int8()."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from edgeq.errors import UsageError
from edgeq.imports.held import Held
from edgeq.quant.format import WeightFormat
from edgeq.quant.kinds import NF4

STATE = "weight.quant_state.bitsandbytes__nf4"


def nf4(parts: dict[str, Tensor], shape: tuple[int, int]) -> Held:
    """`weight` u8 `[N K / 2, 1]`, high nibble first, `weight.absmax` a block, itself quantized where nested.

    Codes are kept; our levels are NF4's rounded to 1/127, so that values change by up to 0.4 % of the largest.
    """
    state = json.loads(bytes(parts[STATE].tolist()))
    size = int(state["blocksize"])
    if shape[1] % size:
        raise UsageError(f"blocks of {size} run over the ends of rows of {shape[1]}")
    if not torch.allclose(parts["weight.quant_map"].float(), torch.tensor(NF4), atol=1e-6):
        raise UsageError("its 16 levels are not those of NF4")
    packed = parts["weight"].reshape(-1)
    codes = torch.stack([packed >> 4, packed & 15], -1).reshape(shape)
    absmax = _absmax(parts, state).reshape(shape[0], -1)
    return Held(codes, absmax / 127, None, WeightFormat(4, size, kind="nf"))


def _absmax(parts: dict[str, Tensor], state: dict) -> Tensor:
    absmax = parts["weight.absmax"]
    if "weight.nested_absmax" not in parts:
        return absmax.float()
    outer = parts["weight.nested_absmax"].float().repeat_interleave(int(state["nested_blocksize"]))[: absmax.numel()]
    return parts["weight.nested_quant_map"].float()[absmax.long()] * outer + float(state["nested_offset"])


def int8(parts: dict[str, Tensor]) -> Held:
    """`weight` i8 `[N, K]` and `SCB` f32 `[N]`, the largest magnitude of each row."""
    codes = (parts["weight"].to(torch.int16) + 128).to(torch.uint8)
    return Held(codes, parts["SCB"].float().reshape(-1, 1) / 127, None, WeightFormat(8))
