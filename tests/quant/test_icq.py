"""Information calibration of NF4: more entropy than around the median, no more error than without offsets."""

from __future__ import annotations

import numpy as np
import torch

from edgeq.quant.format import WeightFormat
from edgeq.quant.icq import entropy, information_calibrated, most_informative, rounded
from edgeq.quant.quantizer import dequantize, quantize
from edgeq.quant.stored_scale import stored_scale

FMT, PLAIN = WeightFormat.parse("nf4g64m"), WeightFormat.parse("nf4g64")


def groups(shift: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal((8, 5, 64)).astype(np.float32)) * 0.03 + shift


def code_entropy(codes: torch.Tensor) -> torch.Tensor:
    return entropy(torch.stack([(codes == code).sum(-1) for code in range(16)], -1))


def test_entropy_is_at_least_that_around_the_median():
    w = groups()
    codes = rounded(w, most_informative(w, FMT), FMT)[0]
    around = rounded(w, w.median(-1).values, FMT)[0]
    assert (code_entropy(codes) >= code_entropy(around) - 1e-9).all()
    assert (code_entropy(codes) > code_entropy(around) + 1e-3).float().mean() > 0.8


def test_no_candidates_but_the_median_give_the_median():
    w = groups()
    assert torch.equal(most_informative(w, FMT, steps=0), stored_scale(w.median(-1).values, "w").float())


def test_an_offset_of_zero_is_plain_nf4():
    w = groups()
    codes, scale, offset = rounded(w, torch.zeros(8, 5), FMT)
    want, want_scale, _ = quantize(w.reshape(8, -1), PLAIN)
    assert np.array_equal(codes.reshape(8, -1), want) and np.array_equal(scale, want_scale) and not offset.any()


def test_never_more_error_than_plain_nf4_and_much_less_on_shifted_weights():
    for shift, most in ((0.0, 1.0), (0.1, 0.6)):
        w = groups(shift).reshape(8, -1).numpy()
        error, plain = (
            np.square(dequantize(*quantize(w, fmt), fmt) - w).reshape(8, 5, 64).sum(-1) for fmt in (FMT, PLAIN)
        )
        assert (error <= plain * (1 + 1e-5)).all()
        assert error.sum() <= most * plain.sum()


def test_equal_weights_are_kept():
    codes, scale, offset = information_calibrated(torch.full((1, 1, 64), 0.25), FMT)
    assert float(scale) * FMT.levels[int(codes[0, 0, 0])] - float(offset) == 0.25


def test_the_format_says_itself():
    assert str(FMT) == "nf4g64m" and WeightFormat.named("nf4", 0, "m") == FMT and FMT.float_only
    assert FMT.bits_per_weight(576 // 64 * 64) < 4.7
