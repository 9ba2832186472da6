"""Convolutions as matrix products: the patches of an image as rows."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgeq.ir.ops.library import composite


@composite("im2col(Tensor x, *, int[] kernel, int[] stride, int[] padding, int[] dilation) -> Tensor")
def im2col(x: Tensor, *, kernel: list[int], stride: list[int], padding: list[int], dilation: list[int]) -> Tensor:
    """x `[B, H, W, C]` -> `[B, OH, OW, kh*kw*C]`: the window under each output pixel, zeros outside the image.

    The order is rows of the window, its columns, channels. Every option is `[vertical, horizontal]`.
    """
    ph, pw = padding
    x = F.pad(x, (0, 0, pw, pw, ph, ph))
    height, width = (x.shape[a + 1] - dilation[a] * (kernel[a] - 1) - 1 for a in (0, 1))
    oh, ow = height // stride[0] + 1, width // stride[1] + 1
    parts = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            top, left = i * dilation[0], j * dilation[1]
            rows = slice(top, top + (oh - 1) * stride[0] + 1, stride[0])
            columns = slice(left, left + (ow - 1) * stride[1] + 1, stride[1])
            parts.append(x[:, rows, columns])
    return torch.cat(parts, -1)
