"""qlinear simulated in float."""

from __future__ import annotations

import pytest
import torch

from edgeq.ir.ops import simulated as module
from edgeq.ir.ops.simulated import simulated
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize

qlinear = torch.ops.edgeq.qlinear


@pytest.mark.parametrize("weight", ["w4g32", "w8", "w4g32a"])
@pytest.mark.parametrize("act", ["a8", "a8s", "a16"])
def test_it_is_the_reference_up_to_rounding(weight, act):
    torch.manual_seed(0)
    x, w, b = torch.randn(2, 5, 64), torch.randn(16, 64), torch.randn(16)
    scale = torch.tensor([0.02]) if act == "a8s" else None
    exact = qlinear(x, w, b, scale, weight=weight, act=act)
    with simulated():
        found = qlinear(x, w, b, scale, weight=weight, act=act)
    assert torch.allclose(found, exact, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(found, x @ w.T + b, rtol=1e-3, atol=1e-3)


def test_ranges_are_those_asked_for_and_a_weight_is_quantized_once(monkeypatch):
    torch.manual_seed(0)
    x, w = torch.eye(64), torch.randn(16, 64)
    fmt = WeightFormat.parse("w4g32")
    with simulated("mse"):
        assert torch.equal(
            qlinear(x, w, weight="w4g32", act="a16").T, torch.from_numpy(dequantize(*quantize(w, fmt, "mse"), fmt))
        )
        monkeypatch.setattr(module, "_on_grid", None)
        qlinear(x, w, weight="w4g32", act="a8")
        with pytest.raises(TypeError):
            qlinear(x, w.clone(), weight="w4g32", act="a8")
