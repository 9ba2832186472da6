"""Fake quantization: values rounded to the grid that compiled models compute on, and given back as floats.

Weights lie on the grid of `edgeq.quant.quantizer` at 4 and 8 bits (scales in fp16), and on the one that would follow
from it at any number of bits from 2 to 8. Activations are symmetric: `2^(bits-1) - 1` steps to either side of zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from edgeq.errors import UsageError
from edgeq.ir.ops.fake_quant import fake_quant, largest_code
from edgeq.quant.kinds import KINDS
from edgeq.quant.ranges import RANGES, signed_codes
from edgeq.quant.stored_scale import stored_scale

if TYPE_CHECKING:
    from edgeq.quant.bits import Bits
    from edgeq.quant.format import WeightFormat

FLOOR = 1e-20  # of a largest magnitude: zeros get codes 0 instead of 0/0
ACTS = ("none", "token", "tensor", "sign")


@dataclass(frozen=True)
class _Grid:
    bits: int
    zero_point: int | None


def fake_weight(
    w: Tensor, bits: int, group_size: int = 0, symmetric: bool = True, method: str = "minmax"
) -> Tensor:
    """w `[N, K]` on its grid of `bits` (2..8), in w's type; a group of `group_size` (0: a row) shares a scale.

    method: a name of `edgeq.quant.ranges.RANGES`. Raises UsageError for other bits and methods.
    """
    _check_bits(bits)
    if method not in RANGES:
        raise UsageError(f"quantization range {method!r} is not known; known: {', '.join(RANGES)}")
    rows, columns = w.shape
    size = min(group_size or columns, columns)
    grid = _Grid(bits, 2 ** (bits - 1) if symmetric else None)
    # zeros that fill up a shorter last group change no range: every grid holds 0
    groups = pad(w.float(), (0, -columns % size)).reshape(rows, -1, size)
    scale, zero = RANGES[method](groups, grid)
    scale = stored_scale(scale, "weight").float()
    values = signed_codes(groups, scale, zero, grid).mul_(scale.unsqueeze(-1))
    return values.reshape(rows, -1)[:, :columns].to(w.dtype)


def fake_tokens(x: Tensor, bits: int = 8) -> Tensor:
    """x `[..., K]`, a scale a row from its largest magnitude, as int8 activations are quantized at run time."""
    top = largest_code(_check_bits(bits))
    absmax = x.abs().amax(-1, keepdim=True).clamp(min=FLOOR)
    return torch.round(x * (top / absmax)) * (absmax / top)


def fake_tensor(x: Tensor, bits: int = 8, scale: Tensor | None = None) -> Tensor:
    """x of any shape with one scale, as `edgeq.fake_quant`; None: the largest magnitude of x over the largest code."""
    top = largest_code(_check_bits(bits))
    step = x.abs().amax().clamp(min=FLOOR) / top if scale is None else scale
    return fake_quant(x, step, bits=bits)


def fake_signs(x: Tensor) -> Tensor:
    """x `[..., K]` as signs (0 counts as +1) times each row's mean magnitude (XNOR-Net, eq. 11)."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype) * x.abs().mean(-1, keepdim=True)


def _on_grid(w: Tensor, fmt: WeightFormat, method: str) -> Tensor:
    from edgeq.quant.quantizer import dequantize, quantize

    filled = pad(w.detach().float().cpu(), (0, -w.shape[1] % 16))
    return torch.from_numpy(dequantize(*quantize(filled, fmt, method), fmt))[:, : w.shape[1]].to(w)


@dataclass(frozen=True)
class QuantSpec:
    """How the linears of a model will be quantized, for passes that minimise the error which that makes.

    Attributes:
        weight_bits: 2..8; 16: weights in fp16; 32: weights as they are.
        group_size, symmetric: of weights of 2..8 bits.
        act: `none` (float), `token` (a scale a token, from its values), `tensor` (one scale) or `sign`.
        act_bits: 2..8.
        method: which range a weight's group gets (`edgeq.quant.ranges`).
        kind: what codes mean (`edgeq.quant.kinds`).
    """

    weight_bits: int
    group_size: int = 0
    symmetric: bool = True
    act: str = "none"
    act_bits: int = 8
    method: str = "minmax"
    kind: str = "int"

    def __post_init__(self) -> None:
        if self.weight_bits not in (16, 32) and self.kind == "int":
            _check_bits(self.weight_bits)
        _check_bits(self.act_bits)
        if self.act not in ACTS:
            raise UsageError(f"activations quantized per {self.act!r} are not known; known: {', '.join(ACTS)}")

    @classmethod
    def of(cls, bits: Bits, method: str = "minmax") -> QuantSpec:
        """What the bits grammar says of a model's layers."""
        return cls.of_format(bits.weight, bits.act, method)

    @classmethod
    def of_format(cls, fmt: WeightFormat, act: str, method: str = "minmax") -> QuantSpec:
        """A weight format, and activations as the bits grammar calls them (`a8`, `a8s`, `a4`, `a16`)."""
        how = {"a8": "token", "a8s": "tensor", "a4": "token", "a1": "sign"}.get(act, "none")
        if fmt.float_only:
            how = "none"
        return cls(fmt.bits, fmt.group_size, fmt.symmetric, how, 4 if act == "a4" else 8, method, fmt.kind)

    @property
    def format(self) -> WeightFormat:
        """How such a weight is stored; UsageError of bits that are only simulated."""
        from edgeq.quant.format import WeightFormat

        return WeightFormat(self.weight_bits, self.group_size, self.symmetric, self.kind)

    @property
    def grid(self) -> _Grid:
        """What `edgeq.quant.ranges` finds the range of a group for."""
        return _Grid(self.weight_bits, 2 ** (self.weight_bits - 1) if self.symmetric else None)

    def weight(self, w: Tensor) -> Tensor:
        """w `[N, K]` as it will be stored, in its own type."""
        if self.weight_bits >= 16:
            return w.half().to(w.dtype) if self.weight_bits == 16 else w
        if self.kind != "int" and not KINDS[self.kind].sparse:  # pruned or not yet: one grid
            return _on_grid(w, self.format, self.method)
        return fake_weight(w, self.weight_bits, self.group_size, self.symmetric, self.method)

    def activation(self, x: Tensor) -> Tensor:
        """x `[..., K]` as linears will read it."""
        if self.act == "none":
            return x
        if self.act == "sign":
            return fake_signs(x)
        return fake_tokens(x, self.act_bits) if self.act == "token" else fake_tensor(x, self.act_bits)


def _check_bits(bits: int) -> int:
    if not 2 <= bits <= 8:
        raise UsageError(f"{bits} bits cannot be simulated; known: 2 to 8")
    return bits
