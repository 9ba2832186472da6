"""The allocator against every combination there is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeq.budget.allocate import Choice, Item, Limits, allocate, total, within
from edgeq.errors import UsageError

CODE = {"gemv_a": 40, "gemv_b": 25, "gemv_c": 10}
choices = st.builds(
    Choice,
    st.sampled_from(["w4g32", "w4g128", "w8"]),
    st.integers(0, 1000).map(lambda n: n / 1000),
    st.integers(1, 200),
    st.integers(1, 50).map(lambda n: n / 1e4),
    st.sampled_from([(), ("gemv_a",), ("gemv_b",), ("gemv_a", "gemv_c")]),
)
items = st.lists(
    st.lists(choices, min_size=1, max_size=4).map(lambda found: Item(("m",), tuple(found))), min_size=1, max_size=4
)


def best(given_items, limits, least):
    """The least sum among all combinations inside the limits; None where there is none."""
    every = product(*(range(len(item.choices)) for item in given_items))
    sums = [total(given_items, picked, CODE) for picked in every]
    return min((getattr(found, least) for found in sums if within(found, limits)), default=None)


@settings(max_examples=60, deadline=None)
@given(items, st.integers(10, 700), st.floats(0.0005, 0.02), st.sampled_from(["damage", "bytes", "seconds"]))
def test_is_as_good_as_the_best_of_all_combinations(given_items, most, seconds, least):
    for limits in (Limits(bytes=most), Limits(bytes=most, seconds=seconds), Limits(damage=seconds * 100)):
        found, expected = allocate(given_items, limits, least, CODE), best(given_items, limits, least)
        if expected is None:
            assert found is None
        else:
            assert found is not None and within(found, limits)
            assert getattr(found, least) <= expected * (1 + 1e-4) + 1e-4 * _largest(given_items, least)


def _largest(given_items, name):
    return max(getattr(choice, name) for item in given_items for choice in item.choices)


@settings(max_examples=20, deadline=None)
@given(items)
def test_more_bytes_never_mean_more_damage(given_items):
    damages = [found.damage for most in range(50, 900, 85) if (found := allocate(given_items, Limits(bytes=most)))]
    assert all(later <= earlier + 1e-4 for earlier, later in pairwise(damages))


def test_code_is_paid_once_and_so_units_share_formats():
    def item(name, better):
        own = Choice("w4g32", better, 100, code=(f"{name}_g32",))
        return Item((name,), (own, Choice("w4g64", 0.5, 100, code=("shared",))))

    units = [item(name, 0.49) for name in "abc"]
    cheap = allocate(units, Limits(bytes=345), code={"shared": 40, **{f"{n}_g32": 40 for n in "abc"}})
    assert cheap is not None and cheap.formats == ("w4g64",) * 3 and cheap.bytes == 340
    free = allocate(units, Limits(bytes=345))
    assert free is not None and free.formats == ("w4g32",) * 3


def test_limits_hold_to_the_byte_where_the_solver_rounds():
    big = 10**9
    units = [Item((str(i),), (Choice("w8", 0.0, big + i), Choice("w4", 1.0, big // 2))) for i in range(6)]
    exact = sum(big + i for i in range(6))
    found, short = allocate(units, Limits(bytes=exact)), allocate(units, Limits(bytes=exact - 1))
    assert found is not None and found.bytes == exact
    assert short is not None and short.bytes < exact and short.damage == 1.0


def test_formats_that_break_a_unit_are_never_chosen():
    unit = Item(("lm_head",), (Choice("w4g32", float("inf"), 1), Choice("w8g32", 0.1, 2)))
    found = allocate([unit])
    assert found is not None and found.formats == ("w8g32",)
    with pytest.raises(UsageError, match="lm_head"):
        allocate([replace(unit, choices=unit.choices[:1])])
