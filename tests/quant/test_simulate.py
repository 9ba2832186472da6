"""Fake quantization lies on the grid that is compiled."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeq.errors import UsageError
from edgeq.ir.ops.matrix import quantize_tokens
from edgeq.quant.bits import Bits
from edgeq.quant.format import WeightFormat
from edgeq.quant.quantizer import dequantize, quantize
from edgeq.quant.simulate import QuantSpec, fake_tensor, fake_tokens, fake_weight


def _matrix(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32))


@pytest.mark.parametrize("method", ["minmax", "mse"])
@pytest.mark.parametrize("text", ["w4", "w4g32", "w4g64a", "w8", "w8g32", "w8a"])
def test_a_weight_lies_on_the_grid_that_is_stored(text: str, method: str) -> None:
    w, fmt = _matrix(5, 112), WeightFormat.parse(text)  # 112: the last group is shorter
    stored = torch.from_numpy(dequantize(*quantize(w, fmt, method), fmt))
    fake = fake_weight(w, fmt.bits, fmt.group_size, fmt.symmetric, method)
    torch.testing.assert_close(fake, stored, rtol=2e-3, atol=0)  # mse: sums of other lengths
    assert method == "mse" or torch.equal(fake, stored)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_a_row_has_as_many_values_as_its_bits_and_no_weight_is_far_from_its_own(bits: int, symmetric: bool) -> None:
    w = _matrix(3, 256, 1)
    fake = fake_weight(w, bits, 0, symmetric)
    assert all(len(row.unique()) <= 2**bits for row in fake)
    step = (w.amax(1) - w.amin(1)) / (2**bits - 2)
    assert ((fake - w).abs().amax(1) <= step * 1.01 + w.abs().amax(1) * 2**-bits).all()


def test_tokens_are_quantized_as_the_reference_executor_does() -> None:
    x = torch.cat([_matrix(7, 48, 2), torch.zeros(1, 48)])
    codes, scale = quantize_tokens(x)
    torch.testing.assert_close(fake_tokens(x), codes * scale[:, None])
    assert torch.equal(fake_tokens(x.reshape(2, 4, 48)).reshape(8, 48), fake_tokens(x))


@pytest.mark.parametrize("bits", [4, 8])
def test_one_scale_clips_what_lies_beyond_it(bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    x = torch.tensor([[0.0, 0.26, -0.26, 1e6, -1e6]])
    assert fake_tensor(x, bits, torch.tensor([0.5])).tolist() == [[0, 0.5, -0.5, top / 2, -top / 2]]
    assert fake_tensor(x, bits).abs().max() == 1e6


def test_a_spec_says_what_the_grammar_says() -> None:
    spec, w, x = QuantSpec.of(Bits.parse("w4a8g64a")), _matrix(4, 128), _matrix(3, 128, 5)
    assert spec == QuantSpec(4, 64, False, "token", 8)
    assert torch.equal(spec.weight(w), fake_weight(w, 4, 64, False))
    assert torch.equal(spec.activation(x), fake_tokens(x, 8))
    half = QuantSpec.of(Bits.parse("fp16"))
    assert torch.equal(half.weight(w), w.half().float()) and half.activation(x) is x


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(UsageError, match="9 bits"):
        fake_weight(_matrix(1, 16), 9)
    with pytest.raises(UsageError, match="1 bits"):
        QuantSpec(1)
    with pytest.raises(UsageError, match="'row'"):
        QuantSpec(4, act="row")
    with pytest.raises(UsageError, match="'best'"):
        fake_weight(_matrix(1, 16), 4, method="best")
