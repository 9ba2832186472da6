"""Which two of four consecutive weights are kept: JSQ's joint score, and the mask that follows from it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

QUAD, KEPT = 4, 2
SAMPLE = 2048  # tokens
CHUNK = 1 << 21  # outputs with a column removed that are in memory at a time


def input_norm(parts: Sequence[Tensor]) -> Tensor:
    """f32 `[K]`: the L2 norm of each input over tokens f `[T, K]` a part, as it would be over `SAMPLE` of them.

    That is how long the paper's samples are: rho weighs the second term, which does not grow with the number of tokens,
    against a sum that does. Ones, where no token is.
    """
    tokens = sum(map(len, parts))
    if not tokens:
        return torch.ones(parts[0].shape[1])
    total = torch.stack([part.float().square().sum(0) for part in parts]).sum(0)
    return (total * (SAMPLE / tokens)).sqrt()


def ranges_without(x: Tensor, weight: Tensor) -> Tensor:
    """`SS_ij`, f32 `[N, K]`: how far output i reaches over tokens, largest less smallest, with column j removed.

    `Y_i - x_j w_ij` for the outputs `Y = x W^T`, which is exact and costs N K T operations.

    Args:
        x: f32 `[T, K]`, at least one token. weight: f32 `[N, K]`.
    """
    whole, columns = x @ weight.T, x.shape[1]
    found = torch.empty(columns, len(weight))
    step = max(1, CHUNK // whole.numel())
    for first in range(0, columns, step):
        some = slice(first, first + step)
        part = whole - x[:, some].T[:, :, None] * weight[:, some].T[:, None, :]
        low, high = torch.aminmax(part, dim=1)
        found[some] = high - low
    return found.T.contiguous()


def spread_score(weight: Tensor, parts: Sequence[Tensor], rho: float, tokens: int) -> Tensor:
    """`rho * SS_ij`, f32 `[N, K]`: the second term of JSQ's score (ICML 2024), `|W_ij| * ||X_j||_2 + rho * SS_ij`.

    Zeros where rho is 0, which leaves Wanda's score, and where no token is.

    Args:
        weight: f32 `[N, K]`. parts: the linear's input, f `[T, K]` a sample. tokens: of them all that SS is taken of,
            evenly spaced.
    """
    rows = torch.cat([part.float() for part in parts])
    if not rho or not len(rows):
        return torch.zeros_like(weight)
    return rho * ranges_without(some_rows(rows, tokens), weight)


def some_rows(rows: Tensor, count: int) -> Tensor:
    """At most that many rows, evenly spaced."""
    return rows if len(rows) <= count else rows[torch.linspace(0, len(rows) - 1, count).long()]


def best_two(score: Tensor) -> Tensor:
    """bool `[N, K]`: the two largest of four consecutive scores (the first ones of equals); K a multiple of 4."""
    quads = score.reshape(len(score), -1, QUAD)
    order = quads.argsort(dim=-1, descending=True, stable=True)
    keep = torch.zeros_like(quads, dtype=torch.bool)
    return keep.scatter_(-1, order[..., :KEPT], True).reshape(score.shape)
