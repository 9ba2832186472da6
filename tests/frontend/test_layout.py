"""The algebra of layout ops against torch: chains followed on indices, and the few ops they are written as."""

from __future__ import annotations

from math import prod

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.frontend import layout
from edgeq.frontend.layout import Factor, Layout, Steps


def indices(held: Layout) -> torch.Tensor:
    """The element of the root at every place of a layout."""
    found = torch.tensor(held.offset)
    for factor in held.factors:
        found = found[..., None] + torch.arange(factor.size) * factor.stride
    return found.reshape(held.shape)


def run(steps: Steps, x: torch.Tensor) -> torch.Tensor:
    x = x if steps.features is None else x[..., list(steps.features)]
    x = x if steps.before is None else x.reshape(steps.before)
    x = x if steps.order is None else x.permute(steps.order)
    return x if steps.after is None else x.reshape(steps.after)


@st.composite
def chains(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, Layout]:
    """(root, what a random chain makes of it, its layout)."""
    sizes = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    root = x = torch.arange(prod(sizes)).reshape(sizes)
    held = layout.contiguous(sizes)
    for _ in range(draw(st.integers(1, 5))):
        x, held = draw(st.sampled_from([_reshaped, _permuted, _picked]))(draw, x, held)
    return root, x, held


def _reshaped(draw: st.DrawFn, x: torch.Tensor, held: Layout) -> tuple[torch.Tensor, Layout]:
    count, sizes = x.numel(), []
    for _ in range(draw(st.integers(0, 3))):
        size = draw(st.sampled_from([n for n in range(1, count + 1) if count % n == 0]))
        sizes.append(size)
        count //= size
    new = layout.reshape(held, (*sizes, count))
    return (x, held) if new is None else (x.reshape(*sizes, count), new)


def _permuted(draw: st.DrawFn, x: torch.Tensor, held: Layout) -> tuple[torch.Tensor, Layout]:
    order = tuple(draw(st.permutations(range(x.dim()))))
    return x.permute(order), layout.permute(held, order)


def _picked(draw: st.DrawFn, x: torch.Tensor, held: Layout) -> tuple[torch.Tensor, Layout]:
    axis = draw(st.integers(0, x.dim() - 1))
    start = draw(st.integers(0, x.shape[axis] - 1))
    stop = draw(st.integers(start + 1, x.shape[axis]))
    new = layout.cut(held, axis, start, stop)
    return (x, held) if new is None else (x.narrow(axis, start, stop - start), new)


@given(chains())
@settings(max_examples=200, deadline=None)
def test_a_layout_says_where_every_element_comes_from(chain: tuple[torch.Tensor, torch.Tensor, Layout]) -> None:
    _, x, held = chain
    assert torch.equal(indices(held), x)


@given(chains())
@settings(max_examples=400, deadline=None)
def test_canonical_steps_give_the_same_elements(chain: tuple[torch.Tensor, torch.Tensor, Layout]) -> None:
    root, x, held = chain
    steps = layout.canonical(held, tuple(root.shape))
    if steps is not None:
        assert torch.equal(run(steps, root), x)
    elif x.numel() == root.numel():
        raise AssertionError("a permutation of all elements has steps")


def test_the_way_there_and_back_is_nothing() -> None:
    held = layout.permute(layout.reshape(layout.contiguous((2, 5, 12)), (2, 5, 3, 4)), (0, 2, 1, 3))  # type: ignore[arg-type]
    back = layout.reshape(layout.permute(held, (0, 2, 1, 3)), (2, 5, 12))
    assert back is not None and layout.canonical(back, (2, 5, 12)) == Steps(None, None, None, None)


def test_a_part_of_packed_features_is_picked_from_every_row() -> None:
    held = layout.reshape(layout.contiguous((2, 5, 12)), (2, 5, 3, 4))
    assert held is not None
    key = layout.drop(layout.cut(held, 2, 1, 2), 2)  # type: ignore[arg-type]
    assert layout.canonical(key, (2, 5, 12)) == Steps((4, 5, 6, 7), None, None, None)


def test_rows_that_are_left_out_have_no_steps() -> None:
    held = layout.cut(layout.contiguous((2, 5, 12)), 1, 0, 1)
    assert held is not None and layout.canonical(held, (2, 5, 12)) is None


def test_neighbours_merge() -> None:
    assert layout.merged([Factor(2, 12), Factor(3, 4), Factor(4, 1)]) == [Factor(24, 1)]
