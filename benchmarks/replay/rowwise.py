"""References of row-wise kernels: norms, embeddings, element-wise work, the largest logit."""

from __future__ import annotations

import numpy as np

from edgeq.kernels import argmax as argmax_kernels
from edgeq.kernels import elementwise
from edgeq.kernels import embed as embed_kernels
from edgeq.kernels import hadamard as hadamard_kernels
from edgeq.kernels import norm as norm_kernels
from edgeq.quant.format import TILE_ROWS
from replay.expected import Expected, rows_of
from replay.linears import Expectations, matrix
from replay.step import Arguments


def norm(a: Arguments) -> Expectations:
    """Each slice of a row is compared on its own."""
    o = a.options
    width, heads = o["width"], o["heads"]
    w, b = (a.optional(n, np.float32, (width // heads,)) for n in "wb")
    want = norm_kernels.reference(_rows(a, "x", width), w, b, o["kind"], o["eps"], o["offset"], heads)
    shape = (a.rows, heads, -1)
    yield Expected("o", rows_of(a.rows, width).reshape(shape), want.reshape(shape), np.float32)


def embed(a: Arguments) -> Expectations:
    """Rows of the packed weight, unpacked tile by tile."""
    N, K, fmt = a.options["N"], a.options["K"], a.options["fmt"]
    ids = a.read("ids", np.int32, (a.rows,))
    tiles = a.read("w", np.uint8, (fmt.nbytes(N, K),)).reshape(-1, fmt.tile_bytes(K))
    rows = np.stack([matrix(tiles[i // TILE_ROWS], TILE_ROWS, K, fmt)[i % TILE_ROWS] for i in ids])
    yield _stored(a, K, embed_kernels.reference(np.arange(len(ids)), rows, a.options["scale"]))


def positions(a: Arguments) -> Expectations:
    """`x + table[pos + i + offset]`."""
    width = a.options["width"]
    first = a.scalar("pos") + a.options["offset"]
    table = a.read("w", np.float32, (first + a.rows, width))[first:]
    yield _stored(a, width, elementwise.reference("add", _rows(a, "x", width), table))


def binary(a: Arguments) -> Expectations:
    """Sum or product of two activations."""
    width = a.options["width"]
    yield _stored(a, width, elementwise.reference(a.options["op"], _rows(a, "a", width), _rows(a, "b", width)))


def unary(a: Arguments) -> Expectations:
    """Activation, scaling, soft cap."""
    width = a.options["width"]
    yield _stored(a, width, elementwise.reference(a.options["op"], _rows(a, "a", width), value=a.options["value"]))


def gated(a: Arguments) -> Expectations:
    """`act(gate) * up`."""
    width = a.options["width"]
    inputs = _rows(a, "gate", width), _rows(a, "up", width)
    yield _stored(a, width, elementwise.reference(f"gated:{a.options['act']}", *inputs))


def hadamard(a: Arguments) -> Expectations:
    """Blocks of a row times a Hadamard matrix."""
    width = a.options["width"]
    yield _stored(a, width, hadamard_kernels.reference(_rows(a, "x", width), a.options["size"]))


def argmax(a: Arguments) -> Expectations:
    """Value and index of this thread's share of the logits."""
    value, index = argmax_kernels.reference(a.read("x", np.float32, (a.options["ld"],)), a.options["N"], *a.units())
    yield Expected("best", rows_of(1, 1), np.array([[value]], np.float32), np.float32, "exact")
    yield Expected("index", rows_of(1, 1), np.array([[index]], np.int32), np.int32, "exact")


def _rows(a: Arguments, name: str, width: int) -> np.ndarray:
    return a.read(name, np.float32, (a.rows, width))


def _stored(a: Arguments, width: int, values: np.ndarray) -> Expected:
    return Expected("o", rows_of(a.rows, width), values, np.float32)
