"""Second moments of a linear's input: how much an error in one column of its weight costs, alone and with others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

RETRIES = 4  # each with ten times the damping before
DTYPES = (torch.float32, torch.float64)
TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Hessian:
    """What GPTQ calls H, up to a factor that changes nothing.

    Attributes:
        matrix: f32 `[K, K]`: weighted mean of `x x^T` over tokens; a dead column (an input that is always 0) has the
            mean of the others on the diagonal, so that its weights are rounded to nearest and no other makes up for
            them.
        tokens: counted.
        dead: how many columns are.
    """

    matrix: Tensor
    tokens: int
    dead: int


def hessian(parts: Sequence[Tensor], even: bool = False) -> Hessian:
    """Of tokens f `[T, K]`, a part at a time; at least one part. No tokens: every column is dead.

    even: half of it counts tokens as they are, half counts all alike, scaled to one length. Where a token's activations
    are a thousand times the others' (an attention sink), the first half alone knows no other token, and the damping
    drowns them; the second half alone forgets the sink, on which all others depend.
    """
    tokens = sum(map(len, parts))
    squares = [part.float().square().sum(1).clamp(min=TINY) for part in parts]
    power = sum(float(part.double().sum()) for part in squares)
    total = torch.zeros(parts[0].shape[1], parts[0].shape[1])
    for part, square in zip(parts, squares, strict=True):
        own, alike = 1 / max(power, TINY), 1 / (square * tokens)
        weight = (own + alike) / 2 if even else torch.full_like(square, own)
        x = part.float() * weight.sqrt()[:, None]
        total.addmm_(x.T, x)
    diagonal = total.diagonal()
    dead = diagonal == 0
    diagonal[dead] = diagonal[~dead].mean() if not dead.all() else 1.0
    return Hessian(total, tokens, int(dead.sum()))


@dataclass(frozen=True)
class Factor:
    """upper: f32 `[K, K]`, U of `(H + damping)^-1 = U^T U`; damp: the damping, relative to H's mean diagonal."""

    upper: Tensor
    damp: float


def inverse_factor(matrix: Tensor, damp: float) -> Factor | None:
    """The upper Cholesky factor of the inverse of H f32 `[K, K]`, damped; None when no damping makes it one.

    A matrix that is not positive definite (few tokens, channels of very different size) is tried again in float64 and
    with ten times the damping, at most `RETRIES` times.
    """
    mean = matrix.diagonal().double().mean().item()
    for retry in range(RETRIES + 1):
        share = damp * 10**retry
        for dtype in DTYPES:
            damped = matrix.to(dtype, copy=True)
            damped.diagonal().add_(share * mean)
            upper = _factor(damped)
            if upper is not None:
                return Factor(upper.float(), share)
    return None


def _factor(matrix: Tensor) -> Tensor | None:
    """U of `matrix^-1 = U^T U`, from `matrix = R R^T` with R upper: U is R's inverse. Half the work of inverting H."""
    lower, failed = torch.linalg.cholesky_ex(matrix.flip(0, 1))
    if failed:
        return None
    root = lower.flip(0, 1)
    upper = torch.linalg.solve_triangular(root, torch.eye(len(root), dtype=root.dtype), upper=True)
    return upper if bool(torch.isfinite(upper).all()) else None
