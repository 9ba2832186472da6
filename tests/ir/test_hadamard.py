from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeq.errors import UnsupportedError, VerifyError
from edgeq.frontend.weights import evaluate
from edgeq.ir.hadamard import block_size, dense_matrix, factors, hadamard_matrix
from edgeq.ir.text import parse, show
from edgeq.ir.values import weight_value
from edgeq.ir.verify import verify

ORDERS = [1, 2, 4, 12, 16, 20, 24, 28, 36, 44, 52, 60, 76, 100, 108, 140, 148, 244, 256, 344, 576, 896]


@pytest.mark.parametrize("order", ORDERS)
def test_rows_are_orthogonal(order: int):
    matrix = hadamard_matrix(order).astype(np.int64)
    assert set(np.unique(matrix)) <= {-1, 1}
    assert np.array_equal(matrix @ matrix.T, order * np.eye(order, dtype=np.int64))


@pytest.mark.parametrize("order", [0, 3, 6, 92, 4 * 23])
def test_orders_without_a_construction_are_refused(order: int):
    with pytest.raises(UnsupportedError, match=f"order {order}"):
        hadamard_matrix(order)


def test_the_dense_part_is_of_the_smallest_order_and_cannot_be_changed():
    assert factors(1536) == (12, 128) and factors(4864) == (76, 64) and factors(8192) == (1, 8192)
    with pytest.raises(ValueError):
        dense_matrix(12)[0, 0] = 5


@pytest.mark.parametrize(
    ("width", "lanes", "size"),
    [(576, 16, 576), (25600, 16, 25600), (18944, 16, 18944), (11008, 16, 11008), (96, 1, 96), (96, 16, 32),
     (1472, 16, 64), (80, 16, 16), (72, 16, 0), (7, 1, 1)],
)  # fmt: skip
def test_the_largest_block_is_taken(width: int, lanes: int, size: int):
    assert block_size(width, lanes) == size


@pytest.mark.parametrize(("width", "size"), [(16, 16), (96, 32), (96, 48), (240, 20), (512, 512), (1536, 768)])
def test_the_op_is_the_matrix_block_by_block(width: int, size: int):
    x = torch.randn(2, 3, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    blocks = np.kron(np.eye(width // size), hadamard_matrix(size)) / np.sqrt(size)
    got = torch.ops.edgeq.hadamard(x, size=size)
    assert torch.allclose(got, x @ torch.from_numpy(blocks), rtol=0, atol=1e-13)


def test_gradients_are_the_transposed_rotation():
    x = torch.randn(3, 24, dtype=torch.float64, requires_grad=True)
    y = torch.ops.edgeq.hadamard(x, size=12)
    (y * y).sum().backward()
    assert torch.allclose(x.grad, 2 * x.detach())


TEXT = """\
%x = input : f32[1, s, 64]
%w = weight w : f32[40, 64]
%rotated = edgeq.hadamard(%w, size=32) : f32[40, 64]
%h = edgeq.hadamard(%x, size=32) : f32[1, s, 64] @ mlp
%y = aten.linear(%h, %rotated) : f32[1, s, 40] @ mlp.down
return %y
"""


def test_text_and_types():
    gm = parse(TEXT)
    assert show(gm) == TEXT
    verify(gm, types=True)


@pytest.mark.parametrize(("size", "word"), [(48, "slices of 48"), (0, "slices of 0")])
def test_sizes_are_checked(size: int, word: str):
    text = TEXT.replace("%x, size=32", f"%x, size={size}")
    with pytest.raises(VerifyError, match=word):
        verify(parse(text))


def test_rows_of_a_folded_weight_are_read_alone():
    wanted: list[slice | None] = []

    class Weights:
        w = torch.randn(40, 64, generator=torch.Generator().manual_seed(0))

        def read(self, name: str, rows: slice | None = None) -> torch.Tensor:
            wanted.append(rows)
            return self.w if rows is None else self.w[rows]

    gm = parse(TEXT)
    node = next(n for n in gm.graph.nodes if n.name == "rotated")
    whole = weight_value(node, Weights())
    part = evaluate(node, Weights(), slice(3, 9))
    assert wanted[-1] == slice(3, 9)
    assert torch.allclose(part, whole[3:9], atol=1e-6)
