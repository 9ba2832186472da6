"""Hadamard matrices: entries +-1, `H H^T = n I`, of every order `2^k m` for which Paley's constructions give order m.

An order is written `m * L` and `H = A_m (x) S_L`: S_L is Sylvester's matrix of the largest power of two that is left
(fast: `log2 L` additions an element), m is 1 or a multiple of 4 that Paley (1933) constructs (m additions an element).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np

from edgeq.errors import UnsupportedError

LARGEST_DENSE = 512  # beyond it the dense part costs more than smaller blocks lose


@lru_cache(maxsize=32)
def dense_matrix(m: int) -> np.ndarray:
    """A_m: int8 `[m, m]` of order 1 or of one that Paley's constructions give (12, 20, 28, 36, ...), read-only.

    Raises UnsupportedError for another order.
    """
    matrix = np.ones((1, 1), np.int8) if m == 1 else _paley(m)
    if matrix is None:
        raise UnsupportedError(f"no Hadamard matrix of order {m} is known here")
    wide = matrix.astype(np.int32)
    if not np.array_equal(wide @ wide.T, m * np.eye(m, dtype=np.int32)):
        raise AssertionError(f"the construction of order {m} is wrong")
    matrix.flags.writeable = False
    return matrix


def sylvester(order: int) -> np.ndarray:
    """S of a power of two: int8 `[order, order]`; entry (i, j) is -1 where `i & j` has an odd number of ones."""
    matrix = np.ones((1, 1), np.int8)
    while len(matrix) < order:
        matrix = np.kron(np.array([[1, 1], [1, -1]], np.int8), matrix)
    return matrix


def hadamard_matrix(order: int) -> np.ndarray:
    """H: int8 `[order, order]`; raises UnsupportedError for an order that `factors` does not know."""
    m, power = factors(order)
    return np.kron(dense_matrix(m), sylvester(power))


def factors(order: int) -> tuple[int, int]:
    """(m, L) of an order; raises UnsupportedError when none is known."""
    found = _factors(order)
    if found is None:
        raise UnsupportedError(f"no Hadamard matrix of order {order} is known here; use `block_size`")
    return found


@lru_cache(maxsize=1024)
def block_size(width: int, lanes: int = 1) -> int:
    """The largest order that divides `width` and whose power of two is a multiple of `lanes`; 0 when there is none.

    It is the width itself where a matrix of that order is known; otherwise the rotation is block-diagonal.
    """
    for size in range(width, 0, -1):
        if width % size == 0 and (found := _factors(size)) is not None and found[1] % lanes == 0:
            return size
    return 0


@lru_cache(maxsize=1024)
def _factors(order: int) -> tuple[int, int] | None:
    odd = order // (order & -order) if order > 0 else 0
    if odd == 1:
        return 1, order
    m = 4 * odd
    while odd and m <= min(order, LARGEST_DENSE):
        if order % m == 0 and _fields(m):
            return m, order // m
        m *= 2
    return None


def _fields(m: int) -> list[tuple[int, int, int]]:
    """Ways to construct order m: (construction 1 or 2, prime, degree) of the finite field that it is made of."""
    ways = []
    for kind, q in ((1, m - 1), (2, m // 2 - 1)):
        if m % 4 == 0 and q % 4 == (3 if kind == 1 else 1) and (field := _prime_power(q)):
            ways.append((kind, *field))
    return ways


def _prime_power(q: int) -> tuple[int, int] | None:
    """(p, k) with q = p^k, p an odd prime and k at most 3."""
    p = next((d for d in range(3, q + 1, 2) if q % d == 0), 0)
    return next(((p, k) for k in (1, 2, 3) if p and p**k == q), None)


def _paley(m: int) -> np.ndarray | None:
    """Construction I: `I + S`, S skew of order q + 1; II: a symmetric conference matrix, each entry a 2 x 2 block."""
    ways = _fields(m)
    if not ways:
        return None
    kind, p, k = ways[0]
    q = _jacobsthal(p, k)
    core = np.zeros((len(q) + 1, len(q) + 1), np.int8)
    core[0, 1:], core[1:, 0], core[1:, 1:] = 1, (-1 if kind == 1 else 1), q
    unit = np.eye(len(core), dtype=np.int8)
    if kind == 1:
        return core + unit
    corner = np.array([[1, 1], [1, -1]], np.int8)
    return np.kron(core, corner) + np.kron(unit, np.array([[1, -1], [-1, -1]], np.int8))


def _jacobsthal(p: int, k: int) -> np.ndarray:
    """Q[a, b] = 1 where a - b is a nonzero square of the field of p^k elements, -1 where it is none, 0 where a = b."""
    elements = [tuple(reversed(e)) for e in product(range(p), repeat=k)]  # coefficients, constant first
    modulus = _irreducible(p, k)
    squares = {_multiply(e, e, modulus, p) for e in elements[1:]}
    vectors = np.array(elements)
    index = (vectors[:, None] - vectors[None]) % p @ p ** np.arange(k)
    character = np.array([0, *(1 if e in squares else -1 for e in elements[1:])], np.int8)
    return character[index]


def _irreducible(p: int, k: int) -> tuple[int, ...]:
    """Low coefficients of a monic polynomial of degree k without roots (irreducible, as k is at most 3)."""
    if k == 1:
        return (0,)
    for low in product(range(p), repeat=k):
        if all((pow(x, k, p) + sum(c * pow(x, i, p) for i, c in enumerate(low))) % p for x in range(p)):
            return low
    raise AssertionError(f"no irreducible polynomial of degree {k} over {p} elements")


def _multiply(a: tuple[int, ...], b: tuple[int, ...], modulus: tuple[int, ...], p: int) -> tuple[int, ...]:
    """Product of two elements of the field."""
    k = len(a)
    result = [0] * (2 * k - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            result[i + j] += x * y
    for top in range(2 * k - 2, k - 1, -1):
        for i, c in enumerate(modulus):
            result[top - k + i] -= result[top] * c
    return tuple(c % p for c in result[:k])
