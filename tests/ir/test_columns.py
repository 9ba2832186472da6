"""`edgeq.columns`: meaning, rules, and the call that it becomes."""

from __future__ import annotations

import pytest
import torch

from edgeq.errors import UnsupportedError, VerifyError
from edgeq.frontend.entries import EntryGraph, Port
from edgeq.ir.text import parse, show
from edgeq.ir.verify import verify
from edgeq.lower.lowering import lower_entries

TEXT = """\
%x = input : f32[1, 4, 20]
%order = weight order : i32[16]
%c = edgeq.columns(%x, %order) : f32[1, 4, 16] @ mlp
%w = weight w : f32[32, 16]
%y = edgeq.qlinear(%c, %w, weight='w8', act='a8') : f32[1, 4, 32] @ mlp.down
return (%y,)
"""


class Checkpoint:
    """An order, and nothing else that lowering reads."""

    def __init__(self, order):
        self.order = order

    def names(self):
        return []

    def read(self, name, rows=None):
        return self.order


def test_meaning():
    x = torch.arange(12.0).reshape(2, 6).requires_grad_()
    y = torch.ops.edgeq.columns(x, torch.tensor([5, -1, 0, 0], dtype=torch.int32))
    assert torch.equal(y.detach(), torch.tensor([[5.0, 0, 0, 0], [11, 0, 6, 6]]))
    y.sum().backward()
    assert torch.equal(x.grad, torch.tensor([[2.0, 0, 0, 0, 0, 1]] * 2))


def test_text_and_types():
    gm = parse(TEXT.strip())
    assert show(gm).strip() == TEXT.strip()
    verify(gm, types=True)


@pytest.mark.parametrize(("index", "word"), [([0, 20], "20 channels"), ([-2, 1], "from -2")])
def test_a_held_index_is_checked(index, word):
    gm = parse(TEXT.strip())
    gm.register_buffer("order", torch.tensor(index * 8, dtype=torch.int32))
    with pytest.raises(VerifyError, match=word):
        verify(gm)


def test_an_index_must_be_integers():
    with pytest.raises(VerifyError, match="integers i32"):
        verify(parse(TEXT.strip().replace("i32[16]", "f32[16]")))


def plan(order):
    gm = parse(TEXT.strip())
    entry = EntryGraph("image", "image", "static", 1, 0, gm, (Port("x", "f32", (1, 4, 20)),),
                       (Port("y", "f32", (1, 4, 32)),))  # fmt: skip
    return lower_entries([entry], Checkpoint(order), 0, 1)


def test_it_is_one_call_with_the_order_in_the_weights_file():
    order = torch.arange(16, dtype=torch.int32)
    plan_, table = plan(order)
    names = [call.kernel.family for region in plan_.entries[0].regions for call in region.calls]
    assert names.count("columns.columns") == 1
    stored = table.tensors["order"]
    assert stored.dtype == "I32" and torch.equal(torch.from_numpy(next(stored.chunks())), order)


def test_an_order_that_reaches_too_far_is_refused():
    with pytest.raises(UnsupportedError, match="takes column 20 of 20"):
        plan(torch.full((16,), 20, dtype=torch.int32))
