"""How well embeddings agree with the reference's: cosines, and who is nearest to whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NEAREST = 10


def agreement(reference: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> dict[str, float]:
    """Of N embeddings [N, width]: mean and lowest cosine; shares of equal nearest neighbours and of the ten nearest."""
    want, got = normal(reference), normal(found)
    cosines = (want * got).sum(1)
    ranks, other = nearest(want), nearest(got)
    shared = [len(set(a) & set(b)) / NEAREST for a, b in zip(ranks, other, strict=True)]
    return {
        "mean_cosine": float(cosines.mean()),
        "min_cosine": float(cosines.min()),
        "top1": float((ranks[:, 0] == other[:, 0]).mean()),
        "top10": float(np.mean(shared)),
    }


def normal(rows: Sequence[Sequence[float]]) -> np.ndarray:
    """f64 rows of length 1."""
    made = np.asarray(rows, np.float64)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def nearest(rows: np.ndarray) -> np.ndarray:
    """i64[N, 10]: each row's nearest others, nearest first."""
    similar = rows @ rows.T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1, kind="stable")[:, :NEAREST]
